"""Which requests and batches are exported, and that they are linked to each other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.records.cells import DEGRADED, HAS_IDS, KEPT, SAMPLED, SLOW
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.peers import read_peer
from tests.support.span_chunks import Slot
from tests.support.span_parts import attributes, named, spans_of


def links(span):
    return {(link.trace_id, link.span_id) for link in span.links}


def ids(spans):
    return {(span.trace_id, span.span_id) for span in spans}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 29))
def test_a_batch_finds_its_requests_also_those_of_the_next_look(members, cut):
    slot = Slot()
    for number in set(members):
        slot.batch(number, requests=members.count(number))
    for number in members[:cut]:
        slot.request(batch=number)
    first = slot.chunk()
    for number in members[cut:]:
        slot.request(batch=number)
    slot.request()
    spans = spans_of(first, slot.chunk())
    batches = named(spans, "batch digits")
    requests = named(spans, names.INFER)
    assert len(batches) == len(set(members))
    assert len(requests) == len(members) + 1
    assert set().union(*map(links, batches)) == {
        (span.trace_id, span.span_id)
        for span in requests
        if "gateway.batch.span_id" in attributes(span)
    }
    for batch in batches:
        assert len(batch.links) == attributes(batch)["gateway.batch.size"]
        assert {
            attributes(span)["gateway.batch.span_id"]
            for span in requests
            if (span.trace_id, span.span_id) in links(batch)
        } == {batch.span_id.hex()}


def test_links_beyond_the_limit_are_counted():
    slot = Slot()
    slot.batch(1, requests=10)
    for _ in range(10):
        slot.request(batch=1)
    (batch,) = named(spans_of(slot.chunk(), links=4), "batch digits")
    assert (len(batch.links), batch.dropped_links_count) == (4, 6)


def test_a_batch_that_failed_links_those_that_it_ran_for_and_is_an_error():
    slot = Slot()
    slot.batch(1, failed=1)
    slot.link(1, b"t" * 16, b"s" * 8)
    slot.batch(2)
    slot.request(batch=2)
    one, other = sorted(
        named(spans_of(slot.chunk()), "batch digits"), key=lambda span: -span.status.code
    )
    assert (one.status.code, links(one)) == (2, {(b"t" * 16, b"s" * 8)})
    assert (other.status.code, len(other.links)) == (0, 1)


def test_a_request_that_failed_with_its_batch_is_linked_once():
    slot = Slot()
    slot.batch(1, failed=1)
    for ids in ((b"t" * 16, b"s" * 8, bytes(8)), (b"T" * 16, b"S" * 8, bytes(8))):
        slot.link(1, *ids[:2])
        slot.request(batch=1, status=13, flags=HAS_IDS, ids=ids)
    (batch,) = named(spans_of(slot.chunk()), "batch digits")
    assert len(batch.links) == 2
    assert links(batch) == {(b"t" * 16, b"s" * 8), (b"T" * 16, b"S" * 8)}


def test_a_call_to_another_server_is_a_client_span_of_the_same_trace():
    slot = Slot()
    slot.call(1, 0, start=3, end=9, failed=1, instance=5, ids=(b"t" * 16, b"s" * 8, b"p" * 8))
    (span,) = spans_of(slot.chunk())
    assert (span.kind, span.name, span.status.code) == (3, names.CALL, 2)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (b"t" * 16, b"s" * 8, b"p" * 8)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 6_000_000
    assert attributes(span) == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "error.type": "_OTHER",
        "server.address": "10.0.0.1",
        "server.port": 8001,
        "gateway.instance": "10.0.0.1:8001",
        "gateway.model.name": "digits",
        "gateway.model.version": 3,
    }


@pytest.mark.parametrize(
    ("cell", "exported"),
    [
        ({"flags": 0}, False),
        ({"flags": SAMPLED}, True),
        ({"flags": KEPT | SLOW}, True),
        ({"flags": KEPT, "status": 8}, True),
        ({"flags": SLOW | DEGRADED}, False),
        ({"flags": 0, "status": 13}, False),
    ],
)
def test_what_its_process_sampled_or_kept_is_exported_with_its_batch(cell, exported):
    slot = Slot()
    slot.batch(1)
    slot.request(batch=1, **cell)
    spans = spans_of(slot.chunk())
    assert len(named(spans, names.INFER)) == exported
    assert len(named(spans, "batch digits")) == exported


@pytest.mark.parametrize("kept", [0, 1])
def test_a_failed_batch_of_requests_that_are_not_exported_is_where_failures_are_kept(kept):
    slot = Slot()
    slot.batch(1, failed=1, kept=kept)
    slot.request(batch=1, flags=0)
    assert len(spans_of(slot.chunk())) == kept


def test_a_batch_of_an_earlier_look_is_remembered_and_one_that_is_lost_is_named():
    slot = Slot()
    slot.batch(1)
    chunks = [slot.chunk()]
    slot.request()
    chunks.append(slot.chunk())
    slot.request(batch=1)
    slot.request(batch=99)
    chunks.append(slot.chunk())
    requests = [attributes(span) for span in named(spans_of(*chunks), names.INFER)]
    assert sorted(
        ("gateway.batch.span_id" in found, "gateway.batch.size" in found) for found in requests
    ) == [
        (False, False),
        (True, False),
        (True, True),
    ]


def test_another_process_has_batches_of_its_own():
    slot = Slot()
    slot.batch(1)
    slot.request(batch=1)
    chunks = [slot.chunk()]
    slot.began(b"another-process!")
    slot.request(batch=1)
    chunks.append(slot.chunk())
    spans = spans_of(*chunks)
    (batch,) = named(spans, "batch digits")
    first, second = named(spans, names.INFER)
    assert links(batch) == ids([first])
    assert "gateway.batch.size" not in attributes(second)
    assert attributes(second)["gateway.batch.span_id"] != batch.span_id.hex()


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:127.0.0.1:5123", ("127.0.0.1", 5123)),
        ("ipv6:[::1]:77", ("::1", 77)),
        ("ipv6:%5B::1%5D:77", ("::1", 77)),
        ("unix:/run/gateway.sock", ("/run/gateway.sock", 0)),
        ("unix:", ("", 0)),
        ("", ("", 0)),
        ("ipv4:nonsense", ("nonsense", 0)),
    ],
)
def test_a_peer_is_read_as_grpc_writes_it(text, peer):
    assert read_peer(text) == peer
