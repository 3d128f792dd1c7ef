"""tritonclient changes which traces are exported while a real gateway serves.

A change takes effect in all of its processes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import grpc
import pytest

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import multiply, until
from tests.support.checkout import ROOT
from tests.support.connections import connect_to_each
from tests.support.otlp_receiver import grpc_receiver

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed"
)

INFER = "inference.GRPCInferenceService/ModelInfer"
QUICK = ("--http-port", "off", "--drain-delay", "0s", "--processes", "2")
EVERYTHING = {"begun", "failed", "called"}
BEGUN = {"trace_mode": ["opentelemetry"], "trace_level": ["TIMESTAMPS"], "trace_rate": ["1"]}


@contextmanager
def tritonclient(address):
    """Makes a function that reads or changes trace settings and returns what tritonclient saw."""
    command = [sys.executable, "-m", "tests.support.trace_settings_program", address]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:

        def call(**arguments):
            print(json.dumps(arguments), file=program.stdin, flush=True)
            return json.loads(program.stdout.readline())

        yield call
        program.stdin.close()


class Traced:
    """A gateway, and what its collector receives."""

    def __init__(self, gateway, connect, received):
        self.gateway = gateway
        self._connect = connect
        self._received = received
        self._asked = 0

    def exported(self):
        """The ids of requests whose spans have come."""
        spans = [span for span in list(self._received.spans) if span.name == INFER]
        return {
            pair.value.string_value
            for span in spans
            for pair in span.attributes
            if pair.key == "gateway.request.id"
        }

    def seen(self):
        """What is exported of calls that each process gets now.

        The calls are a plain one, one that fails, and one in a caller's sampled trace.
        """
        self._asked += 1
        pids = []
        marks = set()
        for pid, (channel, *_) in connect_to_each(self.gateway, self._connect).items():
            stub = GRPCInferenceServiceStub(channel)
            for what, model, metadata in (
                ("begun", "scale", ()),
                ("failed", "nobody", ()),
                ("called", "scale", (("traceparent", f"00-{os.urandom(16).hex()}-{'12' * 8}-01"),)),
            ):
                message = multiply(model, 3.0)
                message.id = f"{what} {self._asked} {pid}"
                call = stub.ModelInfer.future(message, metadata=metadata, timeout=20)
                assert (call.code() is grpc.StatusCode.OK) == (model == "scale")
            pids.append(pid)
            # the last call: when it has come, so has all that its process had to export before
            marks.add(message.id)
        until(lambda: marks <= self.exported())
        exported = self.exported()
        return [
            {what for what in EVERYTHING if f"{what} {self._asked} {pid}" in exported}
            for pid in pids
        ]


@pytest.fixture
def traced(gateway, models, connect):
    @contextmanager
    def start(*options, **environment):
        graphs.scale(models, "scale")
        with (
            grpc_receiver() as (received, endpoint),
            gateway(*QUICK, "--otlp-endpoint", endpoint, *options, env=environment) as running,
        ):
            yield Traced(running, connect, received)

    return start


def test_what_begins_a_trace_is_changed_for_all_processes_and_for_those_that_come_later(
    traced, connect
):
    with traced() as found, tritonclient(found.gateway.address) as settings:
        stub = GRPCInferenceServiceStub(connect(found.gateway))
        assert "trace" in stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=10).extensions
        assert settings() == settings(model_name="scale") == BEGUN
        assert found.seen() == [EVERYTHING] * 2

        off = settings(settings={"trace_level": ["OFF"]})
        assert off == {**BEGUN, "trace_level": ["OFF"]}
        assert found.seen() == [{"called"}] * 2
        victim = found.gateway.serving_pids()[0]
        os.kill(victim, signal.SIGKILL)
        until(
            lambda: (
                len(found.gateway.serving_pids()) == 2
                and victim not in found.gateway.serving_pids()
            )
        )
        assert found.seen() == [{"called"}] * 2
        assert until(lambda: settings() == off)

        assert settings(settings={"trace_level": None}) == BEGUN
        assert found.seen() == [EVERYTHING] * 2

        assert settings(settings={"trace_rate": "4294967295"})["trace_rate"] == ["4294967295"]
        assert all("failed" in kinds for kinds in found.seen())
        assert settings(settings={"trace_rate": None}) == BEGUN


def test_a_gateway_that_begins_no_trace_at_its_start_can_be_told_to(traced):
    with (
        traced(OTEL_TRACES_SAMPLER="always_off") as found,
        tritonclient(found.gateway.address) as settings,
    ):
        assert settings() == {**BEGUN, "trace_level": ["OFF"]}
        assert settings(settings={"trace_level": "TIMESTAMPS"}) == BEGUN
        assert found.seen() == [EVERYTHING] * 2


def test_what_cannot_be_is_refused_in_words_that_say_what_can(traced):
    with traced() as found, tritonclient(found.gateway.address) as settings:
        for change, text in (
            (
                {"trace_rate": "0"},
                (
                    "setting 'trace_rate' must be a whole number from 1 to 4294967295 (one "
                    "of so many is kept), got 0"
                ),
            ),
            (
                {"trace_rate": "often"},
                "Unable to parse 'trace_rate', expected a whole number, got: often",
            ),
            (
                {"trace_level": ["TENSORS"]},
                (
                    "setting 'trace_level' must be OFF (no trace begins here) "
                    "or TIMESTAMPS, got TENSORS"
                ),
            ),
            (
                {"trace_mode": "triton"},
                "setting 'trace_mode' must be opentelemetry, there is no other, got triton",
            ),
            (
                {"trace_file": "a.json"},
                "unknown trace setting 'trace_file': there are trace_level, trace_mode, trace_rate",
            ),
        ):
            assert settings(settings={"trace_level": ["OFF"], **change}) == [
                "StatusCode.INVALID_ARGUMENT",
                text,
            ]
        assert settings(model_name="scale", settings={"trace_rate": "5"}) == [
            "StatusCode.UNIMPLEMENTED",
            (
                "'scale' has no trace settings of its own: leave its name out "
                "to change those of all models"
            ),
        ]
        assert settings() == BEGUN


def test_without_an_exporter_there_are_none(gateway, models, connect):
    graphs.scale(models, "scale")
    with (
        gateway("--processes", "1", "--http-port", "off") as running,
        tritonclient(running.address) as settings,
    ):
        assert settings() == {}
        assert settings(settings={"trace_rate": "5"}) == [
            "StatusCode.INVALID_ARGUMENT",
            "unknown trace setting 'trace_rate': there are none",
        ]
        stub = GRPCInferenceServiceStub(connect(running))
        assert "trace" not in stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=10).extensions
