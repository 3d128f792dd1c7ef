"""Messages over the limit: what the caller sees is what metrics, statistics and the log tell."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import until
from tests.support.infer_calls import outputs, request
from tests.support.running import RunningGateway

LIMIT = 1 << 20
CORE_LIMIT = 2 * LIMIT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module", params=["completion-queue", "aio"])
def served(request, tmp_path_factory, cache) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("limit")
    models = folder / "models"
    graphs.identity(models, "same", TensorProto.FLOAT, ["rows", "columns"])
    graphs.save(
        models / "zeros/1/model.onnx",
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
        [("shape", TensorProto.INT64, [1])],
        [("y", TensorProto.FLOAT, ["n"])],
    )
    options = (
        "--processes", "1", "--max-message-size", "1MiB", "--drain-delay", "0s", "--transport",
        request.param, "--log-format", "json", "--access-log", "errors",
    )  # fmt: skip
    with RunningGateway(models, folder / "gateway.log", *options, cache=cache) as gateway:
        gateway.transport = request.param
        yield gateway
        gateway.stop()


@pytest.fixture(scope="module")
def stub(served) -> Iterator[GRPCInferenceServiceStub]:
    with served.channel() as opened:
        yield GRPCInferenceServiceStub(opened)


def large(size: int, **names) -> pb.ModelInferRequest:
    """A request with a tensor of so many bytes."""
    return request("same", {"x": np.zeros((1, size // 4), "f4")}, **names)


def zeros(count: int, **names) -> pb.ModelInferRequest:
    """A request whose answer has so many numbers."""
    return request("zeros", {"shape": np.array([count])}, **names)


def refusal(stub, message) -> str:
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(message, timeout=20)
    assert raised.value.code() is EXHAUSTED
    return raised.value.details()


def ended(served) -> Counter[tuple[str, str, str]]:
    """How many requests have ended, by model, status and reason, as /metrics tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{served.http_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = Counter()
    for line in lines:
        if line.startswith("gateway_requests_total{"):
            labels, value = line.removeprefix("gateway_requests_total{").split("} ")
            named = dict(label.split("=", 1) for label in labels.replace('"', "").split(","))
            found[named.get("model", ""), named["status"], named.get("reason", "")] += int(
                float(value)
            )
    return found


def until_ended(served, before, what) -> None:
    """Waits until so many more have ended; nothing else has."""
    until(lambda: {key: count for key, count in (ended(served) - before).items() if count} == what)


def statistics(stub, model: str) -> tuple[int, int]:
    """Successes and failures."""
    (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name=model), timeout=10).model_stats
    return found.inference_stats.success.count, found.inference_stats.fail.count


def access_log(served, request_id: str) -> list[dict[str, object]]:
    records = [json.loads(line) for line in served.text().splitlines() if line.startswith("{")]
    return [record for record in records if record.get("request_id") == request_id]


def test_a_request_over_the_limit_is_refused_counted_and_logged_with_its_model(served, stub):
    before = ended(served)
    text = refusal(stub, large(LIMIT, id="too-long"))
    assert text == (
        f"the message has {large(LIMIT, id='too-long').ByteSize()} bytes, and may have 1MiB "
        "(--max-message-size): send fewer rows, or have the limit raised"
    )
    until_ended(served, before, {("same", "RESOURCE_EXHAUSTED", "request_too_large"): 1})
    (line,) = until(lambda: access_log(served, "too-long"))
    assert (line["model"], line["status"], line["reason"], line["error"]) == (
        "same",
        "RESOURCE_EXHAUSTED",
        "request_too_large",
        text,
    )
    assert outputs(stub.ModelInfer(large(8)))["y"].tolist() == [[0, 0]]


def test_a_request_for_no_model_over_the_limit_is_counted_without_one(served, stub):
    before = ended(served)
    message = large(LIMIT)
    message.model_name = "nobody"
    refusal(stub, message)
    until_ended(served, before, {("", "RESOURCE_EXHAUSTED", "request_too_large"): 1})


def test_a_message_over_the_limit_costs_a_stream_no_other_answer(served, stub):
    before = ended(served)
    messages = [large(size, id=str(k)) for k, size in enumerate((8, LIMIT, 8))]
    answers = list(stub.ModelStreamInfer(iter(messages), timeout=20))
    assert [answer.infer_response.id for answer in answers] == ["0", "1", "2"]
    assert ["--max-message-size" in answer.error_message for answer in answers] == [
        False, True, False,
    ]  # fmt: skip
    until_ended(
        served,
        before,
        {("same", "RESOURCE_EXHAUSTED", "request_too_large"): 1, ("same", "OK", ""): 2},
    )


def test_a_stream_that_is_to_end_at_errors_ends_at_a_message_over_the_limit(stub):
    stream = stub.ModelStreamInfer(
        iter([large(LIMIT)]), metadata=[("triton_grpc_error", "true")], timeout=20
    )
    with pytest.raises(grpc.RpcError) as raised:
        list(stream)
    assert raised.value.code() is EXHAUSTED
    assert "--max-message-size" in raised.value.details()


def test_what_grpcs_core_refuses_is_counted_where_the_transport_hears_of_it(served, stub):
    before = ended(served)
    text = refusal(stub, large(CORE_LIMIT))
    assert str(CORE_LIMIT) in text  # the core's own words
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.ModelStreamInfer(iter([large(CORE_LIMIT)]), timeout=20))
    assert raised.value.code() is EXHAUSTED
    stub.ModelInfer(large(8))  # it is counted behind them
    refused = {("", "RESOURCE_EXHAUSTED", "request_too_large"): 2}
    answered = {("same", "OK", ""): 1}
    hears = served.transport == "completion-queue"
    until_ended(served, before, answered | refused if hears else answered)


@pytest.mark.parametrize("call", ["ModelMetadata", "ModelReady"])
def test_other_methods_refuse_messages_over_the_limit_too(stub, call):
    message = getattr(pb, f"{call}Request")(name="n" * LIMIT)
    with pytest.raises(grpc.RpcError) as raised:
        getattr(stub, call)(message, timeout=20)
    assert raised.value.code() is EXHAUSTED
    assert "may have 1MiB (--max-message-size)" in raised.value.details()


def test_an_answer_over_the_limit_is_a_failure_in_metrics_and_statistics(served, stub):
    assert len(outputs(stub.ModelInfer(zeros(5)))["y"]) == 5
    until(lambda: ended(served)["zeros", "OK", ""] == statistics(stub, "zeros")[0])
    before = ended(served)
    successes, failures = statistics(stub, "zeros")
    assert "1MiB (--max-message-size)" in refusal(stub, zeros(LIMIT, id="long-answer"))
    until_ended(served, before, {("zeros", "RESOURCE_EXHAUSTED", "answer_too_large"): 1})
    assert statistics(stub, "zeros") == (successes, failures + 1)
    (line,) = until(lambda: access_log(served, "long-answer"))
    assert (line["status"], line["reason"]) == ("RESOURCE_EXHAUSTED", "answer_too_large")
    assert len(outputs(stub.ModelInfer(zeros(5)))["y"]) == 5
    until(lambda: statistics(stub, "zeros") == (successes + 1, failures + 1))
