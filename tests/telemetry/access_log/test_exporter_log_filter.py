"""Exporters' faults are logged once a minute, and no token is in them."""

import io
import logging

import pytest
from opentelemetry.util.re import parse_env_headers

from gateway.config.opentelemetry import OtelOptions
from gateway.logs.setup import make_formatter
from gateway.records.sampling import SamplingPlan
from gateway.telemetry.access_log.exporter_log_filter import ExporterLogFilter
from gateway.telemetry.tracing.exporter import SpanExport
from tests.support.span_chunks import Slot

TOKEN = "s3cr3t-t0k3n"


@pytest.fixture
def said():
    """What is logged through the filter for an environment."""
    stream = io.StringIO()
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(make_formatter("human", "telemetry"))

    def begin(environment):
        handler.addFilter(ExporterLogFilter(environment))
        root.addHandler(handler)
        return stream

    yield begin
    root.removeHandler(handler)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(
    "headers",
    [
        f"Bearer {TOKEN}",
        f"authorization=Bearer tök {TOKEN}",
        f"authorization=Bearer%20{TOKEN}%0a%01",
        f"{TOKEN}=",
    ],
)
def test_headers_that_cannot_be_sent_are_not_quoted(protocol, headers, said, monkeypatch):
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": headers,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = said(environment)
    export = SpanExport(
        OtelOptions(
            sampling=SamplingPlan(traces=True), trace_exporters=("otlp",), trace_protocol=protocol
        )
    )
    export.start()
    slot = Slot()
    slot.request()
    export.consume(slot.chunk())
    export.close(5)
    assert "spans were not exported by otlp" in stream.getvalue()
    assert TOKEN not in stream.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization:Bearer-{TOKEN}",
        f"authorization=Bearer {TOKEN};x",
        "k:abc",
        TOKEN,
        "a=b c;abc",
    ],
)
def test_a_header_that_cannot_be_read_is_left_out_however_short(header, said):
    stream = said({"OTEL_EXPORTER_OTLP_HEADERS": header})
    assert parse_env_headers(header, liberal=True) == {}
    assert "occurrences: (left out)" in stream.getvalue()
    assert TOKEN not in stream.getvalue()
    assert "abc" not in stream.getvalue()


def test_a_traceback_that_quotes_one_is_left_out(said):
    stream = said({"OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization=Bearer%20{TOKEN}"})
    error = ValueError(f"metadata was invalid: [('authorization', 'Bearer {TOKEN}')]")
    logging.getLogger("gateway.somewhere").error("otlp failed", exc_info=error)
    assert "otlp failed: ValueError (left out)" in stream.getvalue()
    assert TOKEN not in stream.getvalue()


def test_what_they_say_again_is_counted_for_a_minute_and_others_are_heard(said, monkeypatch):
    stream = said({})
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    theirs = logging.getLogger("opentelemetry.exporter.somewhere")
    ours = logging.getLogger("gateway.somewhere")
    for number in range(500):
        theirs.error("Failed to export %s", number)
        ours.warning("ours %d", number)
    now += 61.0
    theirs.error("Failed to export %s", "again")
    lines = stream.getvalue().splitlines()
    failed = [line.partition(": ")[2] for line in lines if "Failed" in line]
    assert failed == [
        "Failed to export 0",
        "Failed to export again (499 more like it since the last of these)",
    ]
    assert sum("ours" in line for line in lines) == 500


def test_a_short_value_or_a_scheme_is_a_word_like_any_other(said):
    stream = said({"OTEL_EXPORTER_OTLP_HEADERS": "tenant=t1,authorization=Bearer%20xyz"})
    logging.getLogger("gateway.somewhere").warning("Bearer t1 xyz")
    assert "Bearer t1 xyz" in stream.getvalue()
