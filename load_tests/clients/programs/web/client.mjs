// Connect's gRPC-Web transport, over HTTP/1.1 as a browser has it; see load_tests/clients/task.py.
// The service comes from a descriptor set, so that nothing is generated.
import fs from "node:fs";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-node";
import { createFileRegistry, fromBinary, fromJson, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const task = JSON.parse(fs.readFileSync(0, "utf8"));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(process.argv[2])));
const transport = createGrpcWebTransport({ baseUrl: `http://${task.address}`, httpVersion: "1.1", defaultTimeoutMs: 20000 });

function tell(step, told) {
  console.log(`{"step": ${JSON.stringify(step)}, ${JSON.stringify(told).slice(1)}`);
}

async function call(service, method, request) {
  const described = registry.getService(service);
  const found = described.methods.find((each) => each.name === method);
  const response = await createClient(described, transport)[found.localName](fromJson(found.input, request));
  return toJson(found.output, response, { registry });
}

async function answer(step, method, request) {
  try {
    tell(step, { response: await call("inference.GRPCInferenceService", method, request) });
  } catch (error) {
    tell(step, { failed: String(error) });
  }
}

await answer("metadata", "ModelMetadata", { name: "digits" });
await answer("config", "ModelConfig", { name: "digits" });
const health = await call("grpc.health.v1.Health", "Check", {}).catch((error) => ({ status: String(error) }));
tell("health", { ready: health.status === "SERVING" });
for (const step of ["numbers", "strings"]) {
  await answer(step, "ModelInfer", task.requests[step]);
}
try {
  await call("inference.GRPCInferenceService", "ModelMetadata", { name: task.unknown });
  tell("error", { failed: "there was none" });
} catch (caught) {
  const error = ConnectError.from(caught);
  tell("error", { code: Code[error.code], text: error.rawMessage });
}
