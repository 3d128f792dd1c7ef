"""How a gateway ends: by SIGTERM, by Ctrl-C, by force."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, over, take_time, until

A_SECOND = 900_000
AN_HOUR = 3_000_000_000
"""About an hour, in rounds of a patient model."""
CUT_OFF = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
SOON_S = 15
"""The time of an immediate end on a busy machine; every delay that must not pass is longer."""


@pytest.fixture
def begin(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    graphs.patient(models, "patient")

    def start(*options: str):
        return gateway("--processes", "2", *options).start().wait_ready()

    return start


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def health(channel) -> str:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        HealthCheckRequest.SerializeToString,
        HealthCheckResponse.FromString,
    )
    return HealthCheckResponse.ServingStatus.Name(check(HealthCheckRequest(), timeout=5).status)


def http(gateway, path: str) -> int:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{gateway.http_port}{path}", timeout=5
        ) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def begin_call(channel, rounds: int, timeout: float | None = 60):
    """Begins a call and waits until it is inside a serving process."""
    stub = GRPCInferenceServiceStub(channel)
    stub.ModelInfer(take_time("patient", 1), timeout=30)
    call = stub.ModelInfer.future(take_time("patient", rounds), timeout=timeout)
    time.sleep(0.2)
    assert not call.done()
    return call


def test_until_the_drain_delay_is_over_only_readiness_has_ended(begin, connect):
    running = begin("--drain-delay", "5s")
    channels = [connect(running) for _ in range(4)]
    stub = GRPCInferenceServiceStub(channels[0])
    assert health(channels[0]) == "SERVING"
    assert http(running, "/v2/health/ready") == http(running, "/v2/models/scale/ready") == 200
    with Callers(over(channels), "scale", 4) as callers:
        callers.go_on()
        running.terminate()
        begun = time.monotonic()
        until(lambda: health(channels[0]) == health(channels[1]) == "NOT_SERVING")
        until(lambda: not stub.ServerReady(pb.ServerReadyRequest(), timeout=5).ready)
        assert stub.ServerLive(pb.ServerLiveRequest(), timeout=5).live
        assert not stub.ModelReady(pb.ModelReadyRequest(name="scale"), timeout=5).ready
        assert http(running, "/v2/health/ready") == http(running, "/v2/models/scale/ready") == 400
        assert http(running, "/v2/health/live") == 200
        callers.go_on()
        late = connect(running)  # a new connection, too
        took_long = begin_call(late, 3 * A_SECOND)
        assert time.monotonic() - begun < 5
    assert callers.failures == []

    assert took_long.exception(60) is None
    assert running.process.wait(SOON_S) == 0
    assert time.monotonic() - begun >= 5


def test_a_call_longer_than_the_grace_is_cut_off_and_the_exit_status_is_that_of_a_stop(
    begin, connect
):
    running = begin("--drain-delay", "0s", "--grace", "1s")
    short = begin_call(connect(running), A_SECOND // 3)
    endless = begin_call(connect(running), AN_HOUR)

    begun = time.monotonic()
    assert running.stop(SOON_S) == 0

    assert time.monotonic() - begun > 1
    assert short.exception(5) is None or short.exception().code() in CUT_OFF
    assert endless.exception(5).code() in CUT_OFF


def test_ctrl_c_skips_the_drain_delay_and_finishes_what_it_accepted(begin, connect):
    running = begin("--drain-delay", "60s")
    call = begin_call(connect(running), A_SECOND)

    os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does it

    assert running.process.wait(SOON_S) == 0
    assert call.exception(5) is None


def test_a_second_ctrl_c_ends_everything_at_once(begin, connect):
    running = begin("--drain-delay", "60s", "--grace", "60s")
    pids = running.serving_pids()
    call = begin_call(connect(running), AN_HOUR)
    os.killpg(running.process.pid, signal.SIGINT)
    until(lambda: "stopping" in running.text())
    time.sleep(0.3)
    assert running.process.poll() is None

    os.killpg(running.process.pid, signal.SIGINT)

    assert running.process.wait(SOON_S) == 130
    assert call.exception(5).code() is grpc.StatusCode.UNAVAILABLE
    until(lambda: not any(map(alive, pids)))


def test_sigterm_to_the_whole_process_group_drains_all_the_same(begin, connect):
    running = begin("--drain-delay", "1s")
    with Callers(over([connect(running)]), "scale", 2) as callers:
        call = begin_call(connect(running), 2 * A_SECOND)
        os.killpg(running.process.pid, signal.SIGTERM)
        os.killpg(running.process.pid, signal.SIGTERM)  # some managers say it twice
        until(lambda: "draining" in running.text())
        callers.go_on()
    assert callers.failures == []

    assert call.exception(60) is None
    assert running.process.wait(SOON_S) == 0


def test_when_the_supervisor_is_killed_its_processes_answer_what_they_have_and_end(begin, connect):
    running = begin()
    pids = running.serving_pids()
    call = begin_call(connect(running), A_SECOND)

    running.process.kill()

    assert call.exception(60) is None
    until(lambda: not any(map(alive, pids)))
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", running.port))
    running.start().wait_ready()
