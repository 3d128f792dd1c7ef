"""The telemetry process of a real gateway, and how it ends.

Spans that it cannot export do not end it, and those that are left at the end go out.
"""

from __future__ import annotations

import socket
import time
import urllib.request
from contextlib import contextmanager

import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import multiply, until
from tests.support.otlp_receiver import grpc_receiver
from tests.support.running import RunningGateway

REQUESTS = 300


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def models(tmp_path):
    graphs.scale(tmp_path / "models", "scale", factor=2.0)
    return tmp_path / "models"


@contextmanager
def hanging_receiver():
    """An endpoint that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_the_last_spans_go_out_beside_a_receiver_that_hangs_and_a_client_that_does_not_read(
    tmp_path, models, cache
):
    with grpc_receiver() as (received, endpoint), hanging_receiver() as silent:
        environment = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": silent,
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
        }
        running = RunningGateway(
            models,
            tmp_path / "log",
            "--processes",
            "1",
            "--drain-delay",
            "0s",
            cache=cache,
            env=environment,
        )
        with (
            running,
            socket.create_connection(("127.0.0.1", running.http_port)) as deaf,
            running.channel() as channel,
        ):
            deaf.sendall(b"GET /page/uPlot.iife.min.js HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            stub = GRPCInferenceServiceStub(channel)
            for call in [stub.ModelInfer.future(multiply("scale", 1.0)) for _ in range(REQUESTS)]:
                call.result(20)
            stopping = time.monotonic()
            running.stop()
        assert time.monotonic() - stopping < 10
        assert "is killed" not in running.text()
        assert sum(span.name.endswith("/ModelInfer") for span in received.spans) == REQUESTS
        assert any(span.name == "batch scale" for span in received.spans)


def test_an_exporter_that_cannot_be_made_is_an_error_in_the_log_and_the_page_is_there(
    tmp_path, models, cache
):
    environment = {
        "OTEL_METRICS_EXPORTER": "otlp,prometheus",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://127.0.0.1:1",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": "lzma",
    }
    with RunningGateway(
        models,
        tmp_path / "log",
        "--processes",
        "1",
        "--drain-delay",
        "0s",
        cache=cache,
        env=environment,
    ) as running:

        def page():
            with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/metrics") as reply:
                return b"gateway_ready 1" in reply.read()

        assert until(page)
        assert "metrics are not exported by 'otlp': " in running.text()
        assert "lzma" in running.text()
        assert (
            "metrics exporter prometheus: /metrics on the HTTP port is there always"
            in running.text()
        )
        assert "the telemetry process" not in running.text()
