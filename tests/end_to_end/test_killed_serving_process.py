"""A serving process is killed while callers go on."""

from __future__ import annotations

import os
import platform
import re
import signal
import threading
import time

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, answered_so_far, index, over, take_time, until
from tests.support.connections import connect_to_each

DEATHS = 3
RECONNECTED_S = 5.0
"""The time in which a client reconnects.

It may find the dead process's port at first, is reset, and waits a second or so to try again.
"""


class Samples:
    """Keeps the samples of ModelStatistics over time.

    A thread of its own takes them over the channel that it is given.
    """

    def __init__(self, channel: grpc.Channel, model: str) -> None:
        self._channel = channel
        self._model = model
        self.counts: list[int] = []
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._leaving.wait(0.01):
            self.counts.append(answered_so_far(self._channel, self._model))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(10)


@pytest.fixture
def served(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    with gateway("--processes", "2", "--http-port", "off") as running:
        yield running


def test_only_calls_on_its_connections_fail_and_everything_goes_on(served, connect):
    """These calls end with UNAVAILABLE, their callers reconnect, and the process is replaced.

    No counter goes back, and all processes agree afterwards.
    """
    answered = 0
    failed = 0
    for _ in range(DEATHS):
        channels = connect_to_each(served, connect, each=2)
        (victim, doomed), (survivor, safe) = channels.items()
        with (
            Samples(safe[0], "scale") as samples,
            Callers(over(doomed), "scale", len(doomed)) as unlucky,
            Callers(over(safe), "scale", len(safe)) as lucky,
        ):
            unlucky.go_on()
            lucky.go_on()
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            unlucky.go_on()
            lucky.go_on()
            until(
                lambda victim=victim: (
                    len(served.serving_pids()) == 2 and victim not in served.serving_pids()
                )
            )
            agree(served, connect)
            lucky.go_on()

        assert survivor in served.serving_pids()
        assert lucky.failures == []
        assert {outcome.code for outcome in unlucky.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert [
            outcome
            for outcome in unlucky.failures
            if outcome.began_s > killed + RECONNECTED_S or outcome.ended_s < killed
        ] == []
        assert samples.counts == sorted(samples.counts)
        assert {
            outcome.factor for callers in (lucky, unlucky) for outcome in callers.answered()
        } == {2.0}
        answered += sum(len(callers.answered()) for callers in (lucky, unlucky))
        failed += len(unlucky.failures)

    counted = answered_so_far(connect(served), "scale")
    assert failed
    # a failed call may have been run, and its answer lost on the way
    assert answered <= counted <= answered + failed


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="other processors divide INT64_MIN by -1"
)
def test_a_request_that_kills_onnx_runtime_costs_one_process_for_a_moment(gateway, models, connect):
    graphs.save(
        models / "negate" / "1" / "model.onnx",
        [helper.make_node("Div", ["x", "minus"], ["y"])],
        [("x", TensorProto.INT64, ["N", 1])],
        [("y", TensorProto.INT64, ["N", 1])],
        [numpy_helper.from_array(np.array([-1], "i8"), "minus")],
    )
    graphs.scale(models, "scale", factor=2.0)
    with gateway("--processes", "2", "--http-port", "off") as running:
        channels = connect_to_each(running, connect)
        (victim, (doomed, *_)), (_, (safe, *_)) = channels.items()
        with Callers(over([safe]), "scale", 2) as callers:
            callers.go_on()
            with pytest.raises(grpc.RpcError) as failure:
                GRPCInferenceServiceStub(doomed).ModelInfer(
                    take_time("negate", -(2**63)), timeout=30
                )
            until(lambda: len(running.serving_pids()) == 2 and victim not in running.serving_pids())
            for again in connect_to_each(running, connect).values():
                answer = GRPCInferenceServiceStub(again[0]).ModelInfer(
                    take_time("negate", 7), timeout=30
                )
                assert np.frombuffer(answer.raw_output_contents[0], "i8") == -7

        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        assert callers.failures == []
        assert re.search(r"died with SIGFPE \(pid \d+\); another takes its place", running.text())


def agree(served, connect) -> None:
    """Checks that every process answers the same about models and readiness."""
    for channels in connect_to_each(served, connect).values():
        stub = GRPCInferenceServiceStub(channels[0])
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=5).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="scale"), timeout=5).ready
        assert index(channels[0]) == {"scale/1": ("READY", "")}
