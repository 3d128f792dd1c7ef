"""A real Jaeger shows what was exported."""

import pytest

from gateway.config.opentelemetry import apply
from gateway.records.cells import DEGRADED, HAS_PARENT, SAMPLED
from gateway.records.events import Detail
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.exporter import SpanExport
from gateway.telemetry.tracing.span_templates import Server
from tests.support.jaeger import running_jaeger
from tests.support.span_chunks import Slot


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory):
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as running:
        yield running


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request):
    return request.param


def exported(jaeger, protocol, monkeypatch, *chunks):
    endpoint = jaeger.grpc if protocol == "grpc" else jaeger.http
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    export = SpanExport(
        apply({}, otlp_endpoint=endpoint, otlp_protocol=protocol)[0],
        server=Server("gateway.example", 8001),
    )
    export.start()
    for chunk in chunks:
        export.consume(chunk)
    export.close(20)
    assert not any(export.dropped.values())
    return export.exported


def test_a_trace_shows_the_callers_place_and_where_the_time_went_and_leads_to_the_batch_and_back(
    jaeger, protocol, monkeypatch
):
    slot = Slot(seed=protocol.encode().ljust(16))
    trace = protocol.encode().ljust(16)
    slot.batch(5, requests=2, start=20, ran=60)
    slot.request(
        batch=5, flags=SAMPLED | HAS_PARENT, ids=(trace, bytes(8), b"caller's"), request_id=b"r-1"
    )
    slot.request(batch=5)
    assert exported(jaeger, protocol, monkeypatch, slot.chunk()) == 7
    spans = {span.name: span for span in jaeger.trace(trace.hex(), 3)}
    assert set(spans) == {names.INFER, names.QUEUE, names.BATCH}
    request, queue, run = (spans[name] for name in (names.INFER, names.QUEUE, names.BATCH))
    assert request.service == "onnx-gateway"
    assert request.parents == [b"caller's".hex()]
    assert queue.parents == run.parents == [request.span_id]
    assert (request.duration_us, queue.duration_us, run.duration_us) == (70_000, 20_000, 40_000)
    assert request.tags["span.kind"] == "server"
    assert request.tags["rpc.response.status_code"] == "OK"
    assert request.tags["gateway.request.id"] == "r-1"
    assert request.tags["gateway.batch.size"] == 2
    assert (request.tags["client.address"], request.tags["client.port"]) == ("127.0.0.1", 5123)
    ((batch_trace, batch_span),) = run.links
    assert (batch_trace, batch_span) == (
        request.tags["gateway.batch.trace_id"],
        request.tags["gateway.batch.span_id"],
    )
    (batch,) = jaeger.trace(batch_trace)
    assert (batch.name, batch.span_id) == ("batch digits", batch_span)
    assert (request.trace_id, request.span_id) in batch.links
    assert len(batch.links) == 2
    assert [event["event"] for event in batch.events] == [names.COLLATED, names.RAN]


def test_an_error_and_a_fallback_are_visible_as_such(jaeger, protocol, monkeypatch):
    slot, failed, degraded = (
        Slot(),
        *(f"{what} {protocol}".encode().ljust(16)[:16] for what in ("err", "deg")),
    )
    slot.request(
        detail=Detail(error="the model broke", retries=1, tracestate="vendor=a"),
        status=13,
        flags=SAMPLED | HAS_PARENT,
        ids=(failed, bytes(8), b"12345678"),
    )
    slot.request(
        detail=Detail(served_by="digits/2", fallback_reason="circuit_open"),
        flags=SAMPLED | HAS_PARENT | DEGRADED,
        ids=(degraded, bytes(8), b"12345678"),
    )
    exported(jaeger, protocol, monkeypatch, slot.chunk())
    (span,) = jaeger.trace(failed.hex())
    assert span.tags["error"] is True
    assert span.tags["otel.status_description"] == span.tags["gateway.error"] == "the model broke"
    assert span.tags["error.type"] == "INTERNAL"
    assert (span.tags["gateway.retries"], span.tags["w3c.tracestate"]) == (1, "vendor=a")
    (span,) = jaeger.trace(degraded.hex())
    assert "error" not in span.tags
    assert (span.tags["gateway.degraded"], span.tags["gateway.served_by"]) == (True, "digits/2")
    assert span.tags["gateway.fallback_reason"] == "circuit_open"


def test_thousands_of_requests_are_as_many_traces(jaeger, protocol, monkeypatch):
    slot = Slot(seed=f"many {protocol}".encode().ljust(16)[:16])
    slot.now += 10_000 * (protocol == "grpc")
    for number in range(2000):
        if number % 50 == 0:
            slot.batch(number + 1, requests=50, version=7)
        slot.request(batch=number - number % 50 + 1, version=7, request_id=protocol.encode())
    assert exported(jaeger, protocol, monkeypatch, slot.chunk()) == 2000 * 3 + 40
    tags = f'{{"gateway.request.id": "{protocol}"}}'
    found = jaeger.traces("onnx-gateway", 2000, tags=tags, operation=names.INFER)
    assert len(found) == 2000
    assert {len(trace) for trace in found} == {3}
