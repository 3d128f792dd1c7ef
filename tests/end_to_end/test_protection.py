"""Versions keep answering while something fails: a real gateway, real models, real faults."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.protocol.generated import gateway_control_pb2 as control
from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.gateway_control_pb2_grpc import GatewayControlStub
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import factor_of, multiply, until

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INTERNAL = grpc.StatusCode.INTERNAL
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
ONE = ("--processes", "1", "--http-port", "off", "--drain-delay", "0s")


def configure(models, name, text):
    (models / name / "model.yaml").write_text(text)


def sample(models, name):
    """Writes a reference sample, so that inspection tries rows that the model accepts."""
    np.savez(models / name / "reference.npz", x=np.arange(32, dtype="f4").reshape(8, 4))


def outcome(call):
    """The status of a call with its text; OK where it was answered."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def breakers(channel, model):
    answer = GatewayControlStub(channel).ListBreakers(
        control.ListBreakersRequest(model=model), timeout=5
    )
    return {(entry.version, entry.instance): entry for entry in answer.breakers}


def children(pid, word):
    """The processes started by a process whose command has the word."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    started = [child for task in tasks for child in (task / "children").read_text().split()]
    return [int(child) for child in started if word in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_of_64_requests_with_one_poisoned_the_other_63_are_right_every_time(
    gateway, models, connect
):
    graphs.fragile(models, "fragile", factor=3.0)
    sample(models, "fragile")
    configure(
        models,
        "fragile",
        "batching: {max_queue_delay: 20ms, preferred_batch_sizes: [64], "
        "max_batch_size: 64}\nbreaker: off\n",
    )
    with gateway(*ONE) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        for turn in range(5):
            values = [float(n % 90 + 1) for n in range(64)]
            values[turn * 12] = 500.0
            calls = [
                stub.ModelInfer.future(multiply("fragile", value), timeout=20) for value in values
            ]
            for value, call in zip(values, calls, strict=True):
                if value == 500.0:
                    assert call.exception().code() is INTERNAL
                    assert "out of data bounds" in call.exception().details()
                else:
                    assert factor_of(call.result(), value) == 3.0


@pytest.mark.parametrize("transport", ["completion-queue", "aio"])
def test_who_comes_without_a_deadline_is_given_the_configured_one(
    gateway, models, connect, transport
):
    graphs.scale(models, "waiting")
    configure(
        models,
        "waiting",
        "batching: {max_queue_delay: 600s, preferred_batch_sizes: [64]}\n"
        "admission: {default_deadline: 200ms}\n",
    )
    with gateway(*ONE, "--transport", transport) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        code, text = outcome(lambda: stub.ModelInfer(multiply("waiting", 1.0)))
    assert (code, text) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "Request timeout expired while it waited for 'waiting' version 1",
    )


def test_a_version_that_fails_is_answered_for_by_its_fallback_and_says_so(gateway, models, connect):
    graphs.scale(models, "m", version=1, factor=2.0)
    graphs.fragile(models, "m", version=2, factor=5.0, limit=40)
    sample(models, "m")
    configure(
        models, "m", "versions: all\nfallback: [{version: 1}]\nbreaker: {reset_timeout: 60s}\n"
    )
    with gateway(*ONE) as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        healthy = stub.ModelInfer(multiply("m", 3.0), timeout=10)
        assert factor_of(healthy, 3.0) == 5.0
        assert "degraded" not in healthy.parameters
        for _ in range(20):
            answer = stub.ModelInfer(multiply("m", 700.0), timeout=10)
            assert factor_of(answer, 700.0) == 2.0
            assert answer.parameters["degraded"].bool_param
            assert answer.parameters["served_by"].string_param == "version 1"
        assert "unavailable" in answer.parameters["fallback_reason"].string_param
        assert breakers(channel, "m")["2", ""].processes[0].state == control.OPEN


def test_an_open_breaker_refuses_at_once_and_tells_clients_not_to_retry(gateway, models, connect):
    graphs.fragile(models, "m")
    sample(models, "m")
    configure(models, "m", "breaker: {consecutive_failures: 3, reset_timeout: 60s}\n")
    with gateway(*ONE) as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        for _ in range(3):
            assert outcome(lambda: stub.ModelInfer(multiply("m", 700.0), timeout=10))[0] is INTERNAL
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(multiply("m", 1.0), timeout=10)
        assert refused.value.code() is UNAVAILABLE
        assert ("grpc-retry-pushback-ms", "-1") in [
            tuple(entry) for entry in refused.value.trailing_metadata()
        ]
        assert "out of data bounds" in refused.value.details()

        GatewayControlStub(channel).SetBreaker(
            control.SetBreakerRequest(model="m", mode=control.FORCE_CLOSED), timeout=5
        )
        assert factor_of(stub.ModelInfer(multiply("m", 1.0), timeout=10), 1.0) == 2.0


def test_an_open_breaker_whose_time_is_over_is_told_to_be_tried_and_is_not_moved_by_that(
    gateway, models, connect
):
    graphs.fragile(models, "m")
    sample(models, "m")
    configure(models, "m", "breaker: {consecutive_failures: 1, reset_timeout: 100ms}\n")
    with gateway("--processes", "1", "--drain-delay", "0s") as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        assert outcome(lambda: stub.ModelInfer(multiply("m", 700.0), timeout=10))[0] is INTERNAL

        def told():
            with urllib.request.urlopen(
                f"http://127.0.0.1:{running.http_port}/v2/gateway/state"
            ) as answer:
                (version,) = json.load(answer)["versions"]
            return version["breaker"], version["breaker_to_try_processes"]

        until(lambda: told() == ("open", 1))
        (process,) = breakers(channel, "m")["1", ""].processes
        assert (process.state, process.retry_in_s) == (control.OPEN, 0)
        assert factor_of(stub.ModelInfer(multiply("m", 1.0), timeout=10), 1.0) == 2.0
        until(lambda: told() == ("closed", 0))


def test_values_that_are_no_answer_are_answered_by_a_constant_and_batch_mates_are_not(
    gateway, models, connect
):
    graphs.logarithm(models, "log")
    sample(models, "log")
    configure(
        models,
        "log",
        "output_guard: {finite: true}\nfallback: [{constant: {y: [7, 7, 7, 7]}}]\nbreaker: off\n",
    )
    with gateway(*ONE) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        calls = [
            (x, stub.ModelInfer.future(multiply("log", x), timeout=10))
            for x in (1.0, -1.0, 2.0, 3.0)
        ]
        for x, call in calls:
            y = np.frombuffer(call.result().raw_output_contents[0], "f4")
            assert np.allclose(y, 7.0 if x < 0 else np.log(x))
            assert ("degraded" in call.result().parameters) == (x < 0)


def test_killed_worker_processes_cost_no_call(gateway, models, connect):
    graphs.scale(models, "m", factor=2.0)
    configure(models, "m", "workers: {kind: process, count: 2}\n")
    with gateway(*ONE) as running:
        (serving,) = running.serving_pids()
        stub = GRPCInferenceServiceStub(connect(running))
        workers = children(serving, b"worker_main")
        assert len(workers) == 2

        def call_for_a_while(seed):
            ends = time.monotonic() + 6
            answered = 0
            while time.monotonic() < ends:
                assert (
                    factor_of(stub.ModelInfer(multiply("m", seed + 1.0), timeout=20), seed + 1.0)
                    == 2.0
                )
                answered += 1
            return answered

        with ThreadPoolExecutor(4) as callers:
            runs = [callers.submit(call_for_a_while, seed) for seed in range(4)]
            for turn in range(3):
                time.sleep(1.5)  # the load's own pace: what is waited for is the next fault
                alive = until(
                    lambda: len(found := children(serving, b"worker_main")) == 2 and found
                )
                os.kill(alive[turn % 2], signal.SIGKILL)
            assert all(run.result() > 100 for run in runs)
        assert running.serving_pids() == [serving]


def test_a_model_whose_worker_cannot_start_fails_alone(gateway, models, connect):
    graphs.scale(models, "good", factor=2.0)
    graphs.scale(models, "starved", factor=2.0)
    configure(models, "starved", "workers: {kind: process, count: 1, start_timeout: 1ms}\n")
    with gateway(*ONE) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        assert factor_of(stub.ModelInfer(multiply("good", 1.0), timeout=10), 1.0) == 2.0
        code, text = outcome(lambda: stub.ModelInfer(multiply("starved", 1.0), timeout=10))
        assert code is UNAVAILABLE
        assert "starved" in text


class TestRemotes:
    @pytest.fixture
    def remote(self, tmp_path, gateway):
        folder = tmp_path / "remote models"
        folder.mkdir()
        graphs.scale(folder, "m", factor=9.0)
        with gateway(*ONE, models=folder) as running:
            yield running

    def test_a_remote_runs_what_is_not_run_here(self, gateway, models, connect, remote):
        graphs.scale(models, "m", factor=2.0)
        configure(models, "m", f"local: false\nremotes: ['{remote.address}']\n")
        with gateway(*ONE) as running:
            stub = GRPCInferenceServiceStub(connect(running))
            calls = [
                (n, stub.ModelInfer.future(multiply("m", float(n)), timeout=10))
                for n in range(1, 100)
            ]
            assert all(factor_of(call.result(), float(n)) == 9.0 for n, call in calls)

    def test_a_frozen_remote_holds_nobody_past_his_deadline_and_no_other_model_at_all(
        self, gateway, models, connect, remote
    ):
        graphs.scale(models, "m", factor=2.0)
        graphs.scale(models, "other", factor=4.0)
        configure(
            models, "m", f"local: false\nremotes: [{{address: '{remote.address}', timeout: 1s}}]\n"
        )
        with gateway(*ONE) as running:
            stub = GRPCInferenceServiceStub(connect(running))
            assert factor_of(stub.ModelInfer(multiply("m", 1.0), timeout=10), 1.0) == 9.0
            for pid in remote.serving_pids():
                os.kill(pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                stuck = [stub.ModelInfer.future(multiply("m", 1.0), timeout=0.5) for _ in range(50)]
                for _ in range(50):
                    assert factor_of(stub.ModelInfer(multiply("other", 1.0), timeout=1), 1.0) == 4.0
                assert {call.exception().code() for call in stuck} <= {
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    EXHAUSTED,
                    UNAVAILABLE,
                }
                assert time.monotonic() - began < 5
            finally:
                for pid in remote.serving_pids():
                    os.kill(pid, signal.SIGCONT)
            until(
                lambda: (
                    outcome(lambda: stub.ModelInfer(multiply("m", 1.0), timeout=1))[0]
                    is grpc.StatusCode.OK
                )
            )

    def test_a_remote_that_is_lost_is_made_up_for_here(self, gateway, models, connect, remote):
        graphs.scale(models, "m", factor=9.0)
        configure(models, "m", f"remotes: ['{remote.address}']\n")
        with gateway(*ONE) as running:
            stub = GRPCInferenceServiceStub(connect(running))
            for turn in range(200):
                if turn == 100:
                    remote.kill()
                assert factor_of(stub.ModelInfer(multiply("m", 3.0), timeout=10), 3.0) == 9.0

    def test_what_nobody_is_left_to_run_is_refused_soon(self, gateway, models, connect, remote):
        graphs.scale(models, "m", factor=2.0)
        configure(models, "m", f"local: false\nremotes: ['{remote.address}']\n")
        with gateway(*ONE) as running:
            stub = GRPCInferenceServiceStub(connect(running))
            assert factor_of(stub.ModelInfer(multiply("m", 1.0), timeout=10), 1.0) == 9.0
            remote.kill()

            def refused():
                code, text = outcome(lambda: stub.ModelInfer(multiply("m", 1.0), timeout=1))
                return code is UNAVAILABLE and "no instance can run" in text

            until(refused)


def test_a_callers_quota_is_his_own(gateway, models, connect):
    graphs.scale(models, "m", factor=2.0)
    configure(models, "m", "admission: {quota: {key: x-tenant, per_second: 1, burst: 5}}\n")
    with gateway(*ONE) as running:
        stub = GRPCInferenceServiceStub(connect(running))
        ask = lambda tenant: outcome(  # noqa: E731
            lambda: stub.ModelInfer(
                multiply("m", 1.0), timeout=10, metadata=(("x-tenant", tenant),)
            )
        )
        greedy = [ask("greedy") for _ in range(10)]
        assert [code for code, _ in greedy[:5]] == [grpc.StatusCode.OK] * 5
        assert greedy[-1][0] is EXHAUSTED
        assert "x-tenant" in greedy[-1][1]
        assert ask("modest")[0] is grpc.StatusCode.OK


def test_more_than_may_be_in_flight_is_refused_and_health_is_not(gateway, models, connect):
    graphs.patient(models, "patient")
    configure(models, "patient", "admission: {max_in_flight: 3}\n")
    with gateway(*ONE) as running:
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        request = pb.ModelInferRequest(
            model_name="patient", raw_input_contents=[np.array([[1_000_000]], "i8").tobytes()]
        )
        request.inputs.add(name="x", datatype="INT64", shape=[1, 1])
        calls = [stub.ModelInfer.future(request, timeout=60) for _ in range(10)]
        refused = until(lambda: len(done := [call for call in calls if call.done()]) == 7 and done)
        assert {call.code() for call in refused} == {EXHAUSTED}
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=2).ready


def test_a_worker_process_that_is_stopped_does_not_outlive_the_gateway(gateway, models, connect):
    graphs.scale(models, "m", factor=2.0)
    configure(models, "m", "workers: {kind: process, count: 2}\n")
    with gateway(*ONE) as running:
        connect(running)
        workers = children(running.serving_pids()[0], b"worker_main")
        os.kill(workers[0], signal.SIGSTOP)
        assert running.stop() == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_stop_says_nothing_bad_of_remotes_that_are_well(gateway, models, tmp_path, connect):
    folder = tmp_path / "remote models"
    folder.mkdir()
    graphs.scale(folder, "m", factor=9.0)
    graphs.scale(models, "m", factor=9.0)
    with gateway(*ONE, models=folder) as remote:
        configure(models, "m", f"remotes: ['{remote.address}']\n")
        with gateway(*ONE) as running:
            connect(running)
            assert running.stop() == 0
            assert "WARNING" not in running.text()
