"""What a gateway does while it starts, and who decides about its models."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import factor_of, index, multiply, take_time, until

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def slow_to_load(repository: Path, name: str, count: int = 10, version: int = 1) -> None:
    """Writes a model whose warm-up takes seconds: `count` runs of a fifth of a second."""
    graphs.patient(repository, name, version)
    (repository / name / "warmup").mkdir()
    (repository / name / "warmup" / "rounds").write_bytes(np.int64(200_000).tobytes())
    (repository / name / "model.yaml").write_text(
        f"warmup: [{{count: {count}, inputs: {{x: {{shape: [1, 1], file: rounds}}}}}}]\n"
    )


def ready(stub: GRPCInferenceServiceStub) -> bool:
    return stub.ServerReady(pb.ServerReadyRequest(), timeout=5).ready


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value


def live(channel: grpc.Channel) -> set[str]:
    return {name for name, (state, _) in index(channel).items() if state == "READY"}


def test_while_models_load_the_port_is_open_and_says_so(gateway, models, connect):
    """A model that is loaded is served, the others answer that they are loading.

    ServerReady waits for the whole pass.
    """
    graphs.scale(models, "quick", factor=2.0)
    slow_to_load(models, "slow")
    starting = gateway("--processes", "1", "--http-port", "off").start()

    channel = connect(starting)  # open at once
    stub = GRPCInferenceServiceStub(channel)
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=5).live
    until(lambda: live(channel) == {"quick/1"})
    assert not ready(stub)
    assert factor_of(stub.ModelInfer(multiply("quick", 1.0), timeout=10), 1.0) == 2.0
    loading = refusal(lambda: stub.ModelInfer(take_time("slow", 1), timeout=10))
    assert (loading.code(), "'slow'" in loading.details(), "LOADING" in loading.details()) == (
        UNAVAILABLE,
        True,
        True,
    )
    assert index(channel)["slow/1"][0] == "LOADING"
    assert not stub.ModelReady(pb.ModelReadyRequest(name="slow"), timeout=5).ready
    assert not ready(stub)

    until(lambda: ready(stub))
    assert live(channel) == {"quick/1", "slow/1"}
    assert stub.ModelInfer(take_time("slow", 1), timeout=10)
    starting.wait_text("(gateway is serving)")


def test_readiness_does_not_wait_for_models_that_fail_unless_it_is_to_be_strict(
    gateway, models, connect
):
    graphs.scale(models, "good")
    bad = graphs.scale(models, "bad")
    whole = bad.read_bytes()
    bad.write_bytes(b"no model")
    lax, strict = (
        gateway("--processes", "1", "--http-port", "off", *option).start()
        for option in ((), ("--strict-readiness",))
    )

    lax.wait_ready()
    strict.wait_text("(gateway is serving)")
    stub = GRPCInferenceServiceStub(connect(strict))
    assert not ready(stub)
    assert stub.ModelInfer(multiply("good", 1.0), timeout=10)
    bad.write_bytes(whole)
    strict.process.send_signal(signal.SIGHUP)

    until(lambda: ready(stub))


def test_exit_on_error_ends_the_gateway_with_the_reason(gateway, models):
    graphs.scale(models, "good")
    graphs.scale(models, "bad").write_bytes(b"no model")
    ending = gateway("--exit-on-error", "--processes", "1").start()

    assert ending.process.wait(30) == 1
    assert "1 of 2 models cannot be served (--exit-on-error): bad" in ending.text()
    assert "model bad version 1 is not served: model.onnx is not an ONNX model" in ending.text()


def test_a_folder_without_models_is_served_and_said(gateway, models, connect):
    running = gateway("--processes", "1", "--http-port", "off").start().wait_ready()
    assert "there is no model in" in running.text()
    graphs.scale(models, "late", factor=4.0)

    running.process.send_signal(signal.SIGHUP)

    channel = connect(running)
    until(lambda: live(channel) == {"late/1"})


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_callers_change_nothing_where_they_are_not_to(gateway, models, connect, mode):
    graphs.scale(models, "scale")
    with gateway("--processes", "1", "--http-port", "off", "--model-control", mode) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        for change in (
            lambda: stub.RepositoryModelLoad(
                pb.RepositoryModelLoadRequest(model_name="scale"), timeout=10
            ),
            lambda: stub.RepositoryModelUnload(
                pb.RepositoryModelUnloadRequest(model_name="scale"), timeout=10
            ),
        ):
            refused = refusal(change)
            assert refused.code() is UNAVAILABLE
            assert f"(--model-control {mode})" in refused.details()
        assert live(connect(running)) == {"scale/1"}


def test_explicit_control_loads_what_is_named_and_what_callers_ask_for(gateway, models, connect):
    for name in ("first", "second", "third"):
        graphs.scale(models, name)
    with gateway(
        "--processes",
        "2",
        "--http-port",
        "off",
        "--model-control",
        "explicit",
        "--load-model",
        "first",
    ) as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        assert live(channel) == {"first/1"}
        stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="second"), timeout=30)
        assert live(channel) == {"first/1", "second/1"}
        stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="first"), timeout=30)
        assert live(channel) == {"second/1"}
        assert index(channel)["third/"][0] == ""


def test_polling_takes_up_what_is_new_and_lets_go_what_has_vanished(gateway, models, connect):
    graphs.scale(models, "stays", factor=2.0)
    graphs.scale(models, "grows", factor=2.0)
    graphs.scale(models, "goes")
    with gateway(
        "--processes",
        "2",
        "--http-port",
        "off",
        "--model-control",
        "poll",
        "--poll-interval",
        "200ms",
    ) as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        assert live(channel) == {"stays/1", "grows/1", "goes/1"}
        graphs.scale(models, "grows", version=2, factor=3.0)
        graphs.scale(models, "comes", factor=4.0)
        (models / "goes").rename(models.parent / "gone")

        until(lambda: live(channel) == {"stays/1", "grows/2", "comes/1"})

        assert factor_of(stub.ModelInfer(multiply("grows", 1.0), timeout=10), 1.0) == 3.0
        assert factor_of(stub.ModelInfer(multiply("stays", 1.0), timeout=10), 1.0) == 2.0
        assert (
            refusal(lambda: stub.ModelInfer(multiply("goes", 1.0), timeout=10)).code()
            is grpc.StatusCode.NOT_FOUND
        )


def test_a_repository_that_cannot_be_read_for_a_while_takes_nothing_away(gateway, models, connect):
    graphs.scale(models, "scale", factor=2.0)
    with gateway(
        "--processes",
        "1",
        "--http-port",
        "off",
        "--model-control",
        "poll",
        "--poll-interval",
        "100ms",
    ) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        models.rename(models.parent / "unmounted")
        running.wait_text("(is not available; live versions stay served)")
        until_s = time.monotonic() + 0.5
        while time.monotonic() < until_s:
            assert factor_of(stub.ModelInfer(multiply("scale", 1.0), timeout=10), 1.0) == 2.0
        (models.parent / "unmounted").rename(models)
        graphs.scale(models, "scale", version=2, factor=3.0)

        until(lambda: factor_of(stub.ModelInfer(multiply("scale", 1.0), timeout=10), 1.0) == 3.0)
        assert running.text().count("is not available; live versions stay served") == 1


def test_a_version_put_at_the_top_by_mistake_takes_no_model_away(gateway, models, connect):
    graphs.scale(models, "first")
    graphs.scale(models, "second")
    with gateway(
        "--processes",
        "1",
        "--http-port",
        "off",
        "--model-control",
        "poll",
        "--poll-interval",
        "100ms",
    ) as running:
        channel = connect(running)
        graphs.scale(models.parent / "aside", "second", version=2)
        (models.parent / "aside" / "second" / "2").rename(models / "2")
        running.wait_text("(was a folder of models and now looks like one model)")
        assert live(channel) == {"first/1", "second/1"}
        (models / "2").rename(models / "second" / "2")

        until(lambda: live(channel) == {"first/1", "second/2"})
