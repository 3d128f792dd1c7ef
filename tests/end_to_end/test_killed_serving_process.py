"""A serving process dies at once, with no word, while callers go on."""

from __future__ import annotations

import os
import signal
import threading
import time

import graphs
import grpc
import pytest
from callers import Callers, answered_so_far, index, over, until
from connections import connect_to_each

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub

DEATHS = 3


class Samples:
    """What ModelStatistics says from moment to moment, in a thread of its own, over a channel that is given to it."""

    def __init__(self, channel: grpc.Channel, model: str) -> None:
        self._channel, self._model = channel, model
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
    """Their status is UNAVAILABLE; they reconnect; the process is replaced; what is counted never goes back; what processes say is agreed."""
    answered = failed = 0
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
            until(lambda victim=victim: len(served.serving_pids()) == 2 and victim not in served.serving_pids())
            agree(served, connect)
            lucky.go_on()

        assert survivor in served.serving_pids()
        assert lucky.failures == []
        assert {outcome.code for outcome in unlucky.failures} <= {grpc.StatusCode.UNAVAILABLE}
        assert all(outcome.began_s < killed + 1 and outcome.ended_s > killed for outcome in unlucky.failures)
        assert samples.counts == sorted(samples.counts)
        assert {outcome.factor for callers in (lucky, unlucky) for outcome in callers.answered()} == {2.0}
        answered += sum(len(callers.answered()) for callers in (lucky, unlucky))
        failed += len(unlucky.failures)

    counted = answered_so_far(connect(served), "scale")
    assert failed
    assert answered <= counted <= answered + failed  # a call that failed may have been run, its answer lost on the way


def agree(served, connect) -> None:
    """Every process says the same of models and readiness."""
    for channels in connect_to_each(served, connect).values():
        stub = GRPCInferenceServiceStub(channels[0])
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=5).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="scale"), timeout=5).ready
        assert index(channels[0]) == {"scale/1": ("READY", "")}
