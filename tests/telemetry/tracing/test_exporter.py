"""Spans reach any exporter that is named; those that do not are counted and logged."""

import json
import logging
import subprocess
import sys
import threading
from dataclasses import replace

import grpc
import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway import __version__
from gateway.config.opentelemetry import OtelOptions, apply
from gateway.records.events import Detail
from gateway.records.sampling import SamplingPlan
from gateway.telemetry.tracing.exporter import SpanExport
from gateway.telemetry.tracing.otlp_bytes import grpc_exporter, http_exporter
from gateway.telemetry.tracing.span_exporters import NamedExporter, make_exporters, make_resource
from tests.support.checkout import ROOT
from tests.support.otlp_receiver import grpc_receiver, http_receiver
from tests.support.span_chunks import Slot

TRACED = OtelOptions(sampling=SamplingPlan(traces=True), trace_exporters=("otlp",))


def chunk(requests=3, slot=None, **request):
    slot = slot or Slot()
    slot.batch(1)
    for _ in range(requests):
        slot.request(batch=1, **request)
    return slot.chunk()


def exported_over(receiver, protocol, monkeypatch, **environment):
    with receiver() as (received, endpoint):
        for name, value in {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": "tenant=t1",
            **environment,
        }.items():
            monkeypatch.setenv(name, value)
        options, _ = apply({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, otlp_protocol=protocol)
        export = SpanExport(options)
        export.start()
        export.consume(chunk())
        export.close(10)
        assert export.exported == len(received.spans) == 3 * 3 + 1
        assert not any(export.dropped.values())
        assert export.queues[0].queued_spans == export.queues[0].queued_bytes == 0
        return received


@pytest.mark.parametrize(
    ("receiver", "protocol"), [(grpc_receiver, "grpc"), (http_receiver, "http/protobuf")]
)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_official_exporters_send_the_bytes_with_their_own_headers(
    receiver, protocol, compression, monkeypatch
):
    environment = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression} if compression != "none" else {}
    received = exported_over(receiver, protocol, monkeypatch, **environment)
    assert received.headers[0]["tenant"] == "t1"
    resource = {
        pair.key: pair.value.string_value
        for pair in received.requests[0].resource_spans[0].resource.attributes
    }
    assert resource["service.name"] == "onnx-gateway"
    assert resource["service.version"] == __version__
    assert resource["service.instance.id"]


def test_the_private_names_that_are_leaned_on_are_there():
    """Where this test fails, exporting goes on, at twenty times the cost.

    See gateway/telemetry/tracing/otlp_bytes.py.
    """
    for make in (grpc_exporter, http_exporter):
        exporter = make()
        assert exporter is not None
        exporter.shutdown()


def test_without_them_the_exporter_gets_spans(monkeypatch, caplog):
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    monkeypatch.delattr(trace_exporter, "encode_spans")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    (made,) = make_exporters(OtelOptions(trace_exporters=("otlp",), trace_protocol="http/protobuf"))
    assert not made.takes_bytes
    assert isinstance(made.exporter, trace_exporter.OTLPSpanExporter)
    assert "twenty times" in caplog.text


def test_an_exporter_that_takes_spans_gets_those_of_the_sdk():
    memory = InMemorySpanExporter()
    export = SpanExport(TRACED, exporters=[NamedExporter("memory", memory, takes_bytes=False)])
    export.start()
    export.consume(chunk(status=13, detail=Detail(error="broke")))
    assert export.flush(10)
    spans = memory.get_finished_spans()
    assert (
        sorted(span.name for span in spans)
        == ["batch", "batch", "batch", "batch digits", "inference.GRPCInferenceService/ModelInfer"]
        + ["inference.GRPCInferenceService/ModelInfer"] * 2
        + ["queue"] * 3
    )
    assert {span.status.description for span in spans if span.kind.name == "SERVER"} == {"broke"}
    assert export.exported == len(spans)
    export.close()


def test_the_console_exporter_prints_them():
    program = (
        "from tests.telemetry.tracing.test_exporter import *; "
        "export = SpanExport(OtelOptions(sampling=SamplingPlan(traces=True), "
        "trace_exporters=('console',))); export.start(); export.consume(chunk(1)); export.close()"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    spans = [
        json.loads(text) for text in printed.replace("\n}\n", "\n}\0").split("\0") if text.strip()
    ]
    assert sorted(span["name"] for span in spans) == [
        "batch",
        "batch digits",
        "inference.GRPCInferenceService/ModelInfer",
        "queue",
    ]


def test_an_exporter_that_nobody_has_is_an_error_in_the_log_and_others_go_on(caplog):
    made = make_exporters(OtelOptions(trace_exporters=("pigeon", "console")))
    assert [(one.name, one.exporter is None) for one in made] == [
        ("pigeon", True),
        ("console", False),
    ]
    assert "spans are not exported by 'pigeon'" in caplog.text
    assert "console" in caplog.text


def test_spans_for_an_exporter_that_could_not_be_made_are_counted_and_warned_of(caplog):
    memory = InMemorySpanExporter()
    export = SpanExport(
        TRACED,
        exporters=[
            NamedExporter("pigeon", None, takes_bytes=True),
            NamedExporter("memory", memory, takes_bytes=False),
        ],
    )
    export.start()
    export.consume(chunk())
    export.close(10)
    counts = export.counts
    assert (counts["pigeon"][0], counts["memory"][0]) == (0, 10)
    assert {
        name: {reason: count for reason, count in dropped.items() if count}
        for name, (_, dropped) in counts.items()
    } == {
        "pigeon": {"no_exporter": 9 + 1},
        "memory": {},
    }
    assert "9 spans were not exported by pigeon (no exporter)" in caplog.text


def test_the_environment_names_the_service(monkeypatch):
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=9"
    )
    found = make_resource("here").attributes
    assert found["service.name"] == "onnx-gateway"
    assert (
        found["service.version"],
        found["deployment.environment.name"],
        found["service.instance.id"],
    ) == ("9", "test", "here")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    assert make_resource().attributes["service.name"] == "mine"


class Stuck(SpanExporter):
    """An exporter that exports only when the test lets it."""

    def __init__(self, result=SpanExportResult.SUCCESS):
        self.let = threading.Event()
        self.asked = threading.Event()
        self.result = result
        self.closed = False

    def export(self, spans):
        self.asked.set()
        self.let.wait()
        if self.closed:
            return SpanExportResult.FAILURE
        if self.result is None:
            raise RuntimeError("out of ink")
        return self.result

    def shutdown(self):
        self.closed = True
        self.let.set()


def exporting(stuck, **limits):
    export = SpanExport(
        TRACED, exporters=[NamedExporter("stuck", stuck, takes_bytes=True)], **limits
    )
    export.start()
    return export


@pytest.mark.parametrize("limits", [{"most_bytes": 20_000}, {"most_spans": 60}])
def test_what_an_exporter_is_too_slow_for_is_dropped_counted_and_warned_of_once(limits, caplog):
    stuck = Stuck()
    slot = Slot()
    export = exporting(stuck, **limits)
    for _ in range(40):
        slot.request()
        export.consume(chunk(4, slot))
    assert export.queues[0].queued_bytes <= 20_000 or "most_spans" in limits
    assert export.queues[0].queued_spans <= 60 or "most_bytes" in limits
    dropped = export.dropped["queue_full"]
    assert dropped > 100
    stuck.let.set()
    assert export.flush(10)
    export.close()
    assert export.exported + sum(export.dropped.values()) == 40 * (4 * 3 + 1 + 1)
    assert export.dropped == {
        "queue_full": dropped,
        "export_failed": 0,
        "closed": 0,
        "no_exporter": 0,
        "not_made": 0,
    }
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "were not exported by stuck (queue full)" in warned[0]


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None])
def test_what_an_exporter_gives_up_is_counted(result):
    stuck = Stuck(result)
    stuck.let.set()
    export = exporting(stuck)
    export.consume(chunk())
    export.flush(10)
    assert export.dropped == {
        "queue_full": 0,
        "export_failed": 10,
        "closed": 0,
        "no_exporter": 0,
        "not_made": 0,
    }
    assert export.exported == 0
    export.close()


def test_an_exporter_that_fails_every_time_is_explained_once(caplog):
    stuck = Stuck(None)
    slot = Slot()
    stuck.let.set()
    export = exporting(stuck)
    for _ in range(5):
        slot.request()
        export.consume(slot.chunk())
        assert export.flush(10)
    export.close()
    assert export.dropped["export_failed"] == 5
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["stuck failed"]


def test_what_is_not_out_when_time_is_up_is_counted_and_told_once(caplog):
    stuck = Stuck()
    slot = Slot()
    export = exporting(stuck)
    for _ in range(3):
        export.consume(chunk(1, slot))
    assert stuck.asked.wait(10)
    assert export.asking_s["stuck"] > 0
    export.close(0.05)
    assert [record.getMessage() for record in caplog.records] == [
        "12 spans are lost: the gateway stopped before stuck had accepted them"
    ]
    assert export.dropped == {
        "queue_full": 0,
        "export_failed": 0,
        "closed": 3 * 4,
        "no_exporter": 0,
        "not_made": 0,
    }
    assert export.queues[0].queued_spans == 0
    export.consume(chunk(1, slot))
    assert export.dropped["closed"] > 12


def test_what_hangs_in_an_exporter_at_the_end_is_lost_as_well_and_counted_once(caplog):
    stuck = Stuck()
    stuck.shutdown = lambda: None
    export = exporting(stuck)
    export.consume(chunk(1))
    assert stuck.asked.wait(10)
    export.close(0.05)
    stuck.let.set()
    export.queues[0]._thread.join(10)
    assert (export.exported, export.dropped["closed"], export.queues[0].queued_spans) == (0, 4, 0)
    assert "4 spans are lost" in caplog.text


def test_a_collector_that_refuses_costs_spans_and_nothing_else(monkeypatch):
    with grpc_receiver() as (received, endpoint):
        received.status = grpc.StatusCode.PERMISSION_DENIED
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        slot = Slot()
        export = SpanExport(TRACED)
        export.start()
        export.consume(chunk(1, slot))
        export.flush(10)
        assert export.dropped["export_failed"] == 4
        received.status = grpc.StatusCode.OK
        export.consume(chunk(1, slot))
        export.close(10)
        assert export.exported == len(received.spans) == 4


def test_a_chunk_that_breaks_us_is_counted_and_the_next_is_taken(caplog):
    memory = Stuck()
    memory.let.set()
    export = exporting(memory)
    broken = chunk()
    export.consume(replace(broken, names=None))
    export.consume(broken)
    export.close()
    assert (export.dropped["not_made"], export.exported) == (3, 10)
    assert "no spans could be made of 3 requests" in caplog.text
