"""Models change while calls go on."""

from __future__ import annotations

import os
import signal
import time

import grpc
import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, index, over, take_time, until
from tests.support.connections import connect_to_each

LOADS = 6


def load(stub, model):
    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=60)


def unload(stub, model):
    stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=model), timeout=60)


@pytest.fixture
def served(gateway, models):
    graphs.scale(models, "other", factor=5.0)
    graphs.scale(models, "changing", factor=2.0)
    graphs.patient(models, "patient")
    with gateway("--processes", "2", "--drain-delay", "0s") as running:
        yield running


def test_versions_swap_atomically_and_nobody_notices(served, models, connect):
    """Every answer is of the old or of the new version.

    A call that begins when the load has returned is answered by the new one, in every process.
    """
    infer = over([connect(served) for _ in range(4)])
    stub = GRPCInferenceServiceStub(connect(served))
    with Callers(infer, "other", 2) as other, Callers(infer, "changing", 4) as changing:
        changing.go_on()
        loaded = []
        for version in range(2, 2 + LOADS):
            graphs.scale(models, "changing", version=version, factor=float(version + 1))
            load(stub, "changing")
            loaded.append((time.monotonic(), version))
            changing.go_on(10)
        other.go_on()

    assert not other.failures
    assert not changing.failures
    assert {outcome.factor for outcome in other.outcomes} == {5.0}
    assert all(outcome.factor == int(outcome.version) + 1 for outcome in changing.outcomes)
    for outcome in changing.outcomes:
        oldest = max((version for at, version in loaded if at < outcome.began_s), default=1)
        assert oldest <= int(outcome.version) <= oldest + 1
    assert {outcome.version for outcome in changing.outcomes} == {
        str(version) for version in range(1, 2 + LOADS)
    }


def test_an_unload_refuses_what_comes_later_and_nothing_else(served, connect):
    """Calls are refused only between the request for the unload and the end of the load.

    No call is answered once the unload has returned.
    """
    infer = over([connect(served) for _ in range(4)])
    stub = GRPCInferenceServiceStub(connect(served))
    times: list[tuple[float, float, float, float]] = []
    with (
        Callers(infer, "other", 2) as other,
        Callers(infer, "changing", 4, pause_s=0.002) as changing,
    ):
        for _ in range(3):
            changing.go_on(10)
            asked = time.monotonic()
            unload(stub, "changing")
            unloaded = time.monotonic()
            other.go_on()
            asked_again = time.monotonic()
            load(stub, "changing")
            times.append((asked, unloaded, asked_again, time.monotonic()))
        changing.go_on(10)

    assert not other.failures
    for outcome in changing.failures:
        assert outcome.code is grpc.StatusCode.UNAVAILABLE
        assert "Request for unknown model: 'changing' is not at ready state" in outcome.text
        assert any(
            asked < outcome.ended_s and outcome.began_s < loaded for asked, _, _, loaded in times
        )
    for _, unloaded, asked_again, _ in times:
        assert any(
            unloaded < outcome.began_s and outcome.ended_s < asked_again
            for outcome in changing.failures
        )
        assert not any(outcome.ended_s < asked_again for outcome in changing.answered(unloaded))


@pytest.mark.parametrize("change", ["unload", "load"])
def test_a_call_in_flight_is_answered_by_the_version_that_took_it(served, models, connect, change):
    """The old version drains: it is shown as UNLOADING as long as it answers, then it is gone."""
    stub = GRPCInferenceServiceStub(connect(served))
    calls = [
        GRPCInferenceServiceStub(connect(served)).ModelInfer.future(take_time("patient", 600_000))
        for _ in range(2)
    ]
    time.sleep(0.3)  # waits until all are inside; that they are shows below

    if change == "load":
        graphs.patient(models, "patient", version=2)
        load(stub, "patient")
        assert stub.ModelInfer(take_time("patient", 1), timeout=30).model_version == "2"
    else:
        unload(stub, "patient")

    assert not any(call.done() for call in calls)
    assert index(connect(served))["patient/1"][0] == "UNLOADING"
    assert {call.result(60).model_version for call in calls} == {"1"}
    until(lambda: index(connect(served))["patient/1"] == ("UNAVAILABLE", "unloaded"))


def test_a_load_that_fails_leaves_what_was_serving_and_says_why(served, models, connect):
    channel = connect(served)
    stub = GRPCInferenceServiceStub(channel)
    with Callers(over([connect(served) for _ in range(3)]), "changing", 3) as changing:
        changing.go_on()
        graphs.scale(models, "changing", version=2, factor=3.0).write_bytes(b"this is no model")
        with pytest.raises(grpc.RpcError) as failure:
            load(stub, "changing")
        changing.go_on()
        entries = index(channel)
        graphs.scale(models, "changing", version=2, factor=3.0)
        load(stub, "changing")
        mended = time.monotonic()
        changing.go_on()

    assert "failed to load 'changing'" in failure.value.details()
    assert "version 2" in failure.value.details()
    assert "what served before goes on" in failure.value.details()
    assert entries["changing/1"][0] == "READY"
    assert entries["changing/2"][0] == "UNAVAILABLE"
    assert entries["changing/2"][1]
    assert not changing.failures
    assert {outcome.factor for outcome in changing.answered(mended)} == {3.0}


def test_a_load_during_which_a_process_dies_changes_nothing_anywhere(served, models, connect):
    """Version 2 goes live in both processes or in neither.

    All processes agree on it afterwards.
    """
    graphs.patient(models, "patient", version=2)
    (models / "patient" / "warmup").mkdir()
    (models / "patient" / "warmup" / "rounds").write_bytes(np.int64(200_000).tobytes())
    # a second
    (models / "patient" / "model.yaml").write_text(
        "warmup: [{count: 5, inputs: {x: {shape: [1, 1], file: rounds}}}]\n"
    )
    (victim, _), (survivor, (to_survivor, *_)) = connect_to_each(served, connect).items()
    asking = GRPCInferenceServiceStub(to_survivor).RepositoryModelLoad.future(
        pb.RepositoryModelLoadRequest(model_name="patient"), timeout=60
    )
    until(lambda: index(to_survivor).get("patient/2", ("",))[0] == "LOADING")
    time.sleep(0.3)

    os.kill(victim, signal.SIGKILL)

    assert (
        "a serving process ended while it opened the version; nothing was changed"
        in asking.exception(60).details()
    )
    until(lambda: len(served.serving_pids()) == 2 and victim not in served.serving_pids())
    assert survivor in served.serving_pids()
    for channels in connect_to_each(served, connect).values():
        assert (
            GRPCInferenceServiceStub(channels[0])
            .ModelInfer(take_time("patient", 1), timeout=30)
            .model_version
            == "1"
        )
        state, reason = index(channels[0])["patient/2"]
        assert (state, "nothing was changed" in reason) == ("UNAVAILABLE", True)
        assert index(channels[0])["patient/1"][0] == "READY"
    load(GRPCInferenceServiceStub(to_survivor), "patient")
    for channels in connect_to_each(served, connect).values():
        assert (
            GRPCInferenceServiceStub(channels[0])
            .ModelInfer(take_time("patient", 1), timeout=30)
            .model_version
            == "2"
        )
