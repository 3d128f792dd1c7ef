"""The spans of chunks, parsed."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.encoder import SpanEncoder
from gateway.telemetry.tracing.exporter import encode_origin
from gateway.telemetry.tracing.joiner import SlotRows
from gateway.telemetry.tracing.span_templates import Server

RESOURCE = Resource({"service.name": "tested", "n": 3})
SCOPE = InstrumentationScope("gateway", "1", names.SCHEMA_URL)
SERVER = Server("gateway.example", 8001)
OFFSET_NS = 1_700_000_000_000_000_000


def spans_of(*chunks, links=128, all_children=True):
    """All spans of these chunks of one slot, as protobuf messages."""
    rows = SlotRows(links)
    encoder = SpanEncoder(*encode_origin(RESOURCE, SCOPE), SERVER, all_children=all_children)
    encoded = [one for chunk in chunks for one in encoder.encode(rows.consume(chunk, OFFSET_NS))]
    return parsed([*encoded, *encoder.encode(rows.rest())])


def parsed(encoded):
    spans = []
    for one in encoded:
        message = ExportTraceServiceRequest.FromString(one.data)
        (resource,) = message.resource_spans
        (scope,) = resource.scope_spans
        assert len(one) == len(scope.spans)
        spans += scope.spans
    return spans


def attributes(span):
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def named(spans, name):
    return [span for span in spans if span.name == name]
