// @grpc/grpc-js with @grpc/proto-loader, which reads the protos as they are; see load_tests/clients/task.py.
const fs = require("fs");
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = process.argv[2];
const task = JSON.parse(fs.readFileSync(0, "utf8"));
const options = { longs: String, bytes: String, enums: String };

function service(file, name) {
  const loaded = grpc.loadPackageDefinition(loader.loadSync(path.join(protos, file), { ...options, includeDirs: [protos] }));
  const Service = name.split(".").reduce((found, part) => found[part], loaded);
  return new Service(task.address, grpc.credentials.createInsecure());
}

function tell(step, told) {
  console.log(`{"step": ${JSON.stringify(step)}, ${JSON.stringify(told).slice(1)}`);
}

function call(client, method, request) {
  return new Promise((resolve) => {
    client[method](request, { deadline: Date.now() + 20000 }, (error, response) => resolve({ error, response }));
  });
}

function answer(step, { error, response }) {
  tell(step, error ? { failed: error.message } : { response });
}

async function main() {
  const inference = service("inference.proto", "inference.GRPCInferenceService");
  const health = service("health.proto", "grpc.health.v1.Health");
  answer("metadata", await call(inference, "modelMetadata", { name: "digits" }));
  answer("config", await call(inference, "modelConfig", { name: "digits" }));
  const checked = await call(health, "check", {});
  tell("health", { ready: !checked.error && checked.response.status === "SERVING" });
  for (const step of ["numbers", "strings"]) {
    answer(step, await call(inference, "modelInfer", task.requests[step]));
  }
  const { error } = await call(inference, "modelMetadata", { name: task.unknown });
  tell("error", { code: grpc.status[error.code], text: error.details });
  process.exit(0);
}

main();
