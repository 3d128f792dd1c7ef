"""The bytes of spans are those of the same spans made with OpenTelemetry's SDK."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway import __version__
from gateway.core.errors import REASONS
from gateway.core.request import BREAKER_REFUSED, FALLBACK, FALLBACK_FAILED, RETRY
from gateway.records.cells import DEGRADED, HAS_IDS, HAS_PARENT, IN_STREAM, SAMPLED, SLOW
from gateway.records.events import Detail
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.encoder import MOST_BYTES, SpanEncoder
from gateway.telemetry.tracing.exporter import encode_origin
from gateway.telemetry.tracing.joiner import SlotRows
from gateway.telemetry.tracing.otlp_template import varint, varints4, varints8
from gateway.telemetry.tracing.sdk_spans import SpanMaker
from tests.support.span_chunks import Slot
from tests.support.span_parts import (
    OFFSET_NS,
    RESOURCE,
    SCOPE,
    SERVER,
    attributes,
    named,
    parsed,
    spans_of,
)

text = st.text(st.characters(codec="utf-8"), max_size=30)
details = st.none() | st.builds(
    Detail,
    error=text | st.just("long " * 2000),
    served_by=text,
    fallback_reason=text,
    retries=st.integers(0, 3),
    request_id=st.sampled_from(["", "a-request-id-that-is-longer-than-the-cell-has-room-for"]),
    tracestate=st.sampled_from(["", "vendor=a:1,other=2"]),
    model=text,
    events=st.lists(
        st.tuples(
            st.integers(0, 2**62),
            st.sampled_from([RETRY, FALLBACK, FALLBACK_FAILED, BREAKER_REFUSED]),
            text,
        ),
        max_size=3,
    ).map(tuple),
)
requests = st.fixed_dictionaries(
    {
        "detail": details,
        "status": st.integers(0, 17),
        "flags": st.lists(st.sampled_from([HAS_PARENT, HAS_IDS, DEGRADED, SLOW, IN_STREAM])).map(
            lambda flags: sum(set(flags)) | SAMPLED
        ),
        "request_id": st.binary(max_size=40) | text.map(str.encode),
        "version": st.sampled_from([-1, 0, 7, 9]),
        "arrived": st.integers(0, 100),
        "ended": st.integers(0, 100),
        "batch": st.integers(0, 4),
        "rows": st.integers(0, 2**28 - 1),
        "deadline": st.sampled_from([float("inf"), 0.25, 0.0]),
        "size": st.integers(0, 2**40),
        "peer": st.integers(0, 6),
        "reason": st.integers(0, len(REASONS) - 1),
        "ids": st.tuples(
            *(st.binary(min_size=size, max_size=size).filter(any) for size in (16, 8, 8))
        ),
    }
)
batches = st.fixed_dictionaries(
    {
        "version": st.sampled_from([0, 7, 9]),
        "failed": st.integers(0, 1),
        "start": st.integers(0, 100),
        "ran": st.integers(0, 100),
        "rows": st.integers(0, 1000),
        "requests": st.integers(0, 200),
        "instance": st.sampled_from([-1, 4]),
        "padded": st.integers(0, 3),
    }
)


def plain(span):
    """A span in one form: attributes are sorted, and a status without meaning is left out."""
    copy = Span()
    copy.CopyFrom(span)
    del copy.attributes[:]
    copy.attributes.extend(sorted(span.attributes, key=lambda pair: pair.key))
    if copy.status.code == 0:
        copy.ClearField("status")
    return copy


def in_one_order(spans):
    return sorted(
        (plain(span) for span in spans), key=lambda span: span.SerializeToString(deterministic=True)
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(requests, max_size=8), min_size=1, max_size=3),
    st.dictionaries(st.integers(1, 4), batches),
    st.booleans(),
    st.integers(0, 3),
)
def test_the_bytes_are_those_of_the_sdk(chunks, ran, all_children, links):
    slot = Slot()
    rows = SlotRows(links)
    encoder = SpanEncoder(*encode_origin(RESOURCE, SCOPE), SERVER, all_children=all_children)
    maker = SpanMaker(RESOURCE, SCOPE, SERVER, all_children=all_children)
    for number, batch in ran.items():
        slot.batch(number, **batch)
    for some in chunks:
        for request in some:
            slot.request(**request)
        slot.link(1, bytes(range(16)), bytes(range(8)))
        slot.call(1, 0, start=3, end=9)
        slot.call(2, 9, start=9, end=3, failed=1)
        found = rows.consume(slot.chunk(), OFFSET_NS)
        ours = parsed(encoder.encode(found))
        theirs = encode_spans(list(maker.make(found)))
        theirs = [
            span
            for resource in theirs.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert in_one_order(ours) == in_one_order(theirs)


def test_resource_scope_and_schema_are_those_of_the_sdk():
    slot = Slot()
    slot.request()
    rows = SlotRows(128).consume(slot.chunk(), OFFSET_NS)
    (encoded,) = SpanEncoder(*encode_origin(RESOURCE, SCOPE), SERVER).encode(rows)
    ours = ExportTraceServiceRequest.FromString(encoded.data).resource_spans[0]
    theirs = encode_spans(list(SpanMaker(RESOURCE, SCOPE, SERVER).make(rows))).resource_spans[0]
    assert ours.resource == theirs.resource
    assert ours.scope_spans[0].scope == theirs.scope_spans[0].scope
    assert ours.scope_spans[0].schema_url == theirs.scope_spans[0].schema_url
    assert __version__


def test_a_request_bears_the_stable_names_and_shows_where_its_time_went():
    slot = Slot()
    slot.batch(41, rows=5, requests=3)
    slot.request(batch=41, request_id=b"r-1", deadline=0.5, rows=2, size=512)
    spans = spans_of(slot.chunk())
    (server,), (queue,), (run,), (batch,) = (
        named(spans, name) for name in (names.INFER, names.QUEUE, names.BATCH, "batch digits")
    )
    assert attributes(server) == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "server.address": "gateway.example",
        "server.port": 8001,
        "client.address": "127.0.0.1",
        "client.port": 5123,
        "gateway.model.name": "digits",
        "gateway.model.version": 3,
        "gateway.request.id": "r-1",
        "gateway.request.rows": 2,
        "gateway.request.bytes": 512,
        "gateway.deadline_s": 0.5,
        "gateway.batch.trace_id": batch.trace_id.hex(),
        "gateway.batch.span_id": batch.span_id.hex(),
        "gateway.batch.size": 3,
    }
    assert (server.kind, queue.kind, run.kind, batch.kind) == (2, 1, 1, 1)
    assert {queue.parent_span_id, run.parent_span_id} == {server.span_id}
    assert {server.trace_id, queue.trace_id, run.trace_id} == {server.trace_id}
    assert len({server.span_id, queue.span_id, run.span_id, batch.span_id}) == 4
    assert not server.parent_span_id
    assert not batch.parent_span_id
    begin = slot.now + OFFSET_NS
    times = [
        (span.start_time_unix_nano - begin, span.end_time_unix_nano - begin)
        for span in (server, queue, run, batch)
    ]
    assert times == [(0, 70e6), (0, 20e6), (20e6, 60e6), (20e6, 63e6)]
    assert [(link.trace_id, link.span_id) for link in run.links] == [
        (batch.trace_id, batch.span_id)
    ]
    assert [(link.trace_id, link.span_id) for link in batch.links] == [
        (server.trace_id, server.span_id)
    ]
    assert attributes(batch) == {
        "gateway.model.name": "digits",
        "gateway.model.version": 3,
        "gateway.batch.size": 3,
        "gateway.batch.rows": 5,
    }
    assert [event.name for event in batch.events] == [names.COLLATED, names.RAN]


def test_only_the_conventions_server_faults_are_errors():
    slot = Slot()
    for status in range(17):
        slot.request(status=status, detail=Detail(error=f"told {status}"), ended=status)
    spans = sorted(spans_of(slot.chunk()), key=lambda span: span.end_time_unix_nano)
    failed = {
        attributes(span)["rpc.response.status_code"]: span
        for span in spans
        if span.status.code == 2
    }
    assert set(failed) == {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
    }
    for name, span in failed.items():
        assert attributes(span)["error.type"] == name
        assert span.status.message == attributes(span)["gateway.error"]
    assert all("error.type" not in attributes(span) for span in spans if span.status.code == 0)
    assert [attributes(span)["gateway.error"] for span in spans] == [
        f"told {status}" for status in range(17)
    ]


def test_quick_answered_requests_can_have_events_and_all_others_have_spans():
    slot = Slot()
    slot.batch(1)
    slot.request(batch=1)
    slot.request(batch=1, flags=SAMPLED | SLOW)
    slot.request(batch=1, status=13)
    spans = spans_of(slot.chunk(), all_children=False)
    assert len(named(spans, names.QUEUE)) == len(named(spans, names.BATCH)) == 2
    quick, *others = sorted(named(spans, names.INFER), key=lambda span: -len(span.events))
    assert [event.name for event in quick.events] == [names.BATCH_STARTED, names.BATCH_ENDED]
    assert not any(span.events for span in others)


def test_ids_that_a_reader_makes_are_those_of_the_identifiers():
    slot = Slot()
    slot.request()
    slot.request(flags=SAMPLED | HAS_PARENT, ids=(b"t" * 16, b"s" * 8, b"p" * 8))
    slot.request(flags=SAMPLED | HAS_PARENT | HAS_IDS, ids=(b"T" * 16, b"S" * 8, b"P" * 8))
    slot.request(flags=SAMPLED | HAS_IDS, ids=(b"x" * 16, b"y" * 8, b"z" * 8))
    chunk = slot.chunk()
    found = [
        (span.trace_id, span.span_id, span.parent_span_id)
        for span in sorted(spans_of(chunk), key=lambda span: span.trace_id)
    ]
    traces, spans = (
        [row.tobytes() for row in made]
        for made in (
            chunk.identifiers.request_traces(chunk.request_places),
            chunk.identifiers.request_spans(chunk.request_places),
        )
    )
    assert sorted(found) == sorted(
        [
            (traces[0], spans[0], b""),
            (b"t" * 16, spans[1], b"p" * 8),
            (b"T" * 16, b"S" * 8, b"P" * 8),
            (b"x" * 16, b"y" * 8, b""),
        ]
    )


def test_exports_are_of_a_mebibyte_or_so():
    slot = Slot()
    for number in range(3000):
        slot.request(detail=Detail(error="x" * 4000) if number % 10 == 0 else None, status=13)
    rows = SlotRows(128).consume(slot.chunk(), OFFSET_NS)
    encoded = list(SpanEncoder(b"", b"", SERVER).encode(rows))
    assert sum(map(len, encoded)) == 3000
    assert len(encoded) > 2
    assert max(len(one.data) for one in encoded) < MOST_BYTES + 10_000


@given(st.lists(st.integers(0, 2**62), max_size=20))
def test_varints_of_one_length_are_read_as_their_numbers(values):
    def read(data):
        return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))

    for made, size, bits in (
        (varints4(np.array(values, np.int64)), 4, 28),
        (varints8(np.array(values, np.int64)), 8, 56),
    ):
        assert made.dtype.itemsize == size
        for value, number in zip(values, made, strict=True):
            data = number.tobytes()
            assert read(data) == min(value, 2**bits - 1)
            assert all(byte & 0x80 for byte in data[:-1])
            assert not data[-1] & 0x80
    assert [read(varint(value)) for value in values] == values
