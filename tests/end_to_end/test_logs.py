"""What a real gateway writes to its log.

All records have one form, with what is known of each request, and without secrets.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import multiply, until
from tests.support.checkout import ROOT
from tests.support.infer_calls import request
from tests.support.running import RunningGateway

STRING = 8  # datatypes by the numbers of ONNX's element types
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
OPTIONS = ("--processes", "2", "--drain-delay", "0s")


class LoggingGateway(RunningGateway):
    """A gateway whose stderr is its log; its stdout goes to a file beside it."""

    def start(self) -> LoggingGateway:
        with self.log.open("ab") as err, self.log.with_suffix(".out").open("ab") as out:
            self.process = subprocess.Popen(
                self._command,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=self._env,
                start_new_session=True,
            )
        return self

    def records(self, **wanted: object) -> list[dict[str, object]]:
        """The log's objects that have these values; the last line may not be whole yet."""
        found = [json.loads(line) for line in self.text().split("\n")[:-1]]
        return [record for record in found if wanted.items() <= record.items()]

    def wait_served(self) -> LoggingGateway:
        """Waits until the log says that the gateway serves."""
        until(lambda: "gateway is serving" in self.log.with_suffix(".out").read_text(), 60)
        return self


@pytest.fixture
def logging_gateway(tmp_path, models, cache):
    """Starts gateways whose log is looked at, and ends them."""
    started = []

    def start(*options, **more):
        log = tmp_path / f"log-{len(started)}"
        started.append(
            LoggingGateway(models, log, *OPTIONS, *options, cache=cache, **more)
            .start()
            .wait_served()
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        print(f"--- {each.log}\n{each.text()}")


def stub_of(channel: grpc.Channel) -> GRPCInferenceServiceStub:
    return GRPCInferenceServiceStub(channel)


def failure_of(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value


@pytest.fixture
def fragile(models: Path) -> str:
    """Writes a model that fails on a large index."""
    graphs.fragile(models, "fragile", factor=3.0)
    np.savez(models / "fragile" / "reference.npz", x=np.arange(32, dtype="f4").reshape(8, 4))
    (models / "fragile" / "model.yaml").write_text("breaker: off\n")
    return "fragile"


def test_in_json_every_line_of_every_process_is_an_object(
    logging_gateway, models, fragile, connect
):
    running = logging_gateway("--log-format", "json", "--log-level", "debug")
    failure_of(lambda: stub_of(connect(running)).ModelInfer(multiply(fragile, 1e6), timeout=10))
    assert running.stop() == 0
    records = running.records()
    assert {"main", "serving-0", "serving-1"} <= {record["process"] for record in records}
    for record in records:
        assert {"time", "level", "logger", "message", "process", "pid"} <= record.keys()


def test_a_failure_is_told_with_the_ids_that_its_span_and_its_access_line_bear(
    logging_gateway, fragile, connect
):
    running = logging_gateway(
        "--log-format", "json", "--access-log", "errors", "--log-level", "debug"
    )
    stub = stub_of(connect(running))
    wrong = multiply(fragile, 1e6)
    wrong.id = "order-7"
    assert (
        failure_of(lambda: stub.ModelInfer(wrong, timeout=10, metadata=(PARENT,))).code()
        is grpc.StatusCode.INTERNAL
    )
    assert stub.ModelInfer(multiply(fragile, 1.0), timeout=10).raw_output_contents
    (line,) = until(lambda: running.records(logger="gateway.access", status="INTERNAL"))
    (told,) = running.records(logger="gateway.serving.wire.call_errors", level="WARNING")
    for record in (line, told):
        assert (record["model"], record["version"], record["request_id"], record["trace_id"]) == (
            fragile,
            1,
            "order-7",
            TRACE,
        )
        assert (record["status"], record["reason"]) == ("INTERNAL", "model_failed")
    assert line["span_id"] == told["span_id"]
    assert line["client"].startswith("127.0.0.1:")
    assert line["total_ms"] > 0
    assert line["error"]


def test_a_storm_of_errors_is_a_line_and_a_number(logging_gateway, fragile, connect):
    running = logging_gateway("--log-format", "json")
    stub = stub_of(connect(running))
    with ThreadPoolExecutor(16) as pool:
        list(
            pool.map(
                lambda _: failure_of(lambda: stub.ModelInfer(multiply(fragile, 1e6), timeout=10)),
                range(500),
            )
        )
    assert running.stop() == 0
    first, more = running.records(logger="gateway.serving.wire.call_errors")
    assert first["message"].startswith("request failed: ")
    assert more["message"].startswith("499 more failed for the same reason")
    assert (more["model"], more["version"]) == (fragile, 1)


def test_full_has_a_line_for_every_request_and_a_ratio_for_its_share_and_all_that_failed(
    logging_gateway, models, fragile, connect
):
    graphs.scale(models, "scale")
    for choice, least, most in (("full", 400, 400), ("0.25", 60, 140)):
        running = logging_gateway("--log-format", "json", "--access-log", choice)
        stubs = [stub_of(connect(running)) for _ in range(4)]
        for number in range(400):
            stubs[number % 4].ModelInfer(multiply("scale", 1.0), timeout=10)
        for _ in range(5):
            failure_of(lambda stub=stubs[0]: stub.ModelInfer(multiply(fragile, 1e6), timeout=10))
        assert running.stop() == 0
        answered = [
            line
            for line in running.records(logger="gateway.access", status="OK", model="scale")
            if not line.get("slow")
        ]
        assert least - 40 <= len(answered) <= most
        assert len(running.records(logger="gateway.access", status="OK", model="scale")) >= least
        assert len(running.records(logger="gateway.access", status="INTERNAL")) == 5
        assert all(line["queue_ms"] + line["compute_ms"] <= line["total_ms"] for line in answered)
        assert all(line["batch_size"] >= 1 for line in answered)


def test_callers_cannot_write_lines_of_their_own(logging_gateway, models, connect):
    graphs.scale(models, "scale")
    running = logging_gateway("--access-log", "full", "--log-level", "debug")
    forged = "2026-01-01 00:00:00,000 ERROR   gateway: forged"
    evil = multiply(f"x\n{forged}", 1.0)
    evil.id = f"y\n{forged}"
    stub = stub_of(connect(running))
    failure_of(lambda: stub.ModelInfer(evil, timeout=10))
    right = multiply("scale", 1.0)
    right.id = evil.id
    stub.ModelInfer(right, timeout=10)
    assert running.stop() == 0
    assert running.text().count("forged") >= 3
    assert not [line for line in running.text().splitlines() if line.startswith("2026-01-01")]


PAYLOAD = 7_654_321.0
SECRETS = {
    name: f"{name}-MARKEDSECRET"
    for name in ("authorization", "payload", "admintoken", "wrongtoken", "otlp", "basic")
}


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_no_secret_and_no_payload_is_in_a_log_of_everything(
    logging_gateway, models, fragile, tmp_path, log_format
):
    graphs.identity(models, "echo", STRING, [None, 1])
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "token").write_text(SECRETS["admintoken"])
    running = logging_gateway(
        "--tls-cert",
        str(tmp_path / "cert.pem"),
        "--tls-key",
        str(tmp_path / "key.pem"),
        "--admin-token-file",
        str(tmp_path / "token"),
        "--no-trust-loopback",
        "--log-level",
        "debug",
        "--log-format",
        log_format,
        "--access-log",
        "full",
        env={
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRETS['otlp']}",
        },
    )
    metadata = (
        ("authorization", f"Bearer {SECRETS['authorization']}"),
        ("x-key-bin", SECRETS["basic"].encode()),
    )
    with grpc.secure_channel(
        running.address, grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    ) as channel:
        stub = stub_of(channel)
        for call in calls(fragile):
            try:
                stub.ModelInfer(call, timeout=10, metadata=metadata)
            except grpc.RpcError:
                continue
        list(stub.ModelStreamInfer(iter([*calls(fragile)]), timeout=10, metadata=metadata))
        unload = pb.RepositoryModelUnloadRequest(model_name="echo")
        wrong, right = (
            (("authorization", f"Bearer {SECRETS[name]}"),) for name in ("wrongtoken", "admintoken")
        )
        assert (
            failure_of(
                lambda: stub.RepositoryModelUnload(unload, timeout=10, metadata=wrong)
            ).code()
            is grpc.StatusCode.UNAUTHENTICATED
        )
        stub.RepositoryModelUnload(unload, timeout=10, metadata=right)
    assert running.stop() == 0
    said = running.text() + running.log.with_suffix(".out").read_text()
    assert "request failed: " in said
    assert "status=INTERNAL" in said or '"status":"INTERNAL"' in said
    assert "MARKEDSECRET" not in said
    assert str(int(PAYLOAD)) not in said  # ONNX Runtime quotes the index that is out of bounds
    assert "while running Gather node" in said
    assert "PRIVATE KEY" not in said
    key_lines = certificate.private_key_pem.bytes().decode().splitlines()[1:-1]
    assert not [line for line in key_lines if line in said]


def calls(fragile: str) -> list[pb.ModelInferRequest]:
    """Requests that are right, and wrong in many ways, all with words that must not be logged."""
    secret = np.array([[SECRETS["payload"]]], object)
    right = request("echo", {"x": secret})
    shape = request("echo", {"x": secret})
    shape.inputs[0].shape[0] = 5
    datatype = request("echo", {"x": secret})
    datatype.inputs[0].datatype = "FP32"
    typed = request("echo", {"x": secret}, typed=True)
    typed.inputs[0].datatype = "INT64"
    cut = request("echo", {"x": secret})
    cut.raw_input_contents[0] = cut.raw_input_contents[0][:-3]
    parameter = request("echo", {"x": secret})
    parameter.parameters["priority"].string_param = SECRETS["payload"]
    return [
        right,
        shape,
        datatype,
        typed,
        cut,
        request("nobody", {"x": secret}),
        request(fragile, {"x": secret}),
        multiply(fragile, PAYLOAD),
    ]
