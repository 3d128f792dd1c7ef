"""REQUEST cells as they are packed, and as a reader sees them."""

import math
import os

import pytest

from gateway.core.request import InferenceRequest, RequestForm, Run
from gateway.core.span_context import SpanContext
from gateway.records.cells import HAS_IDS, HAS_PARENT, REQUEST_ID_BYTES, SAMPLED
from gateway.records.events import Detail
from gateway.records.reader import RecordReader
from gateway.records.request_cells import RequestCells, id_text, request_fields
from gateway.records.request_details import NOTHING
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file

OWN = SpanContext(b"o" * 16, b"own span", sampled=True)
PARENT = SpanContext(b"p" * 16, b"par span", sampled=True)
FORM = RequestForm(names=(), key=(), rows=3, input_bytes=12, outputs=(), parameters={})
FIELDS = request_fields(7, None, 1.0, 2.5, peer=4, reason=6)


@pytest.fixture
def ring():
    fd = os.memfd_create("rings")
    size_rings_file(fd, 1)
    writer = RingWriter(fd, 0)
    reader = RecordReader(0, RingReader(fd, 0))

    def read():
        writer.publish()
        reader.read()
        return reader.read()

    yield RequestCells(writer), read
    os.close(fd)


def test_a_cell_tells_what_it_was_packed_of(ring):
    cells, read = ring
    request = InferenceRequest(FORM, (), 1.0, deadline=5.0)
    request.run = Run()
    request.run.number = 9
    fields = request_fields(7, request, request.arrived, 2.5, peer=4, reason=6)
    cells.write(None, None, 13, SAMPLED, fields, b"order-7", NOTHING)
    (cell,) = read().requests
    found = {name: cell[name].item() for name in cell.dtype.names if cell[name].ndim == 0}
    assert found == {
        "kind": 1,
        "status": 13,
        "flags": SAMPLED,
        "id_bytes": 7,
        "version": 7,
        "arrived_ns": 1_000_000_000,
        "ended_ns": 2_500_000_000,
        "batch": 9,
        "rows": 3,
        "deadline_s": 4.0,
        "input_bytes": 12,
        "peer": 4,
        "reason": 6,
    }
    assert bytes(cell["request_id"])[:7] == b"order-7"


def test_a_request_that_was_never_read_has_no_size_and_no_deadline(ring):
    cells, read = ring
    cells.write(None, None, 3, 0, FIELDS, b"", NOTHING)
    (cell,) = read().requests
    assert (cell["batch"], cell["rows"], cell["input_bytes"]) == (0, 0, 0)
    assert cell["deadline_s"] == math.inf


@pytest.mark.parametrize(
    ("own", "parent", "flags", "ids"),
    [
        (OWN, None, HAS_IDS, (OWN.trace_id, OWN.span_id, bytes(8))),
        (None, PARENT, HAS_PARENT, (PARENT.trace_id, bytes(8), PARENT.span_id)),
        (OWN, PARENT, HAS_IDS | HAS_PARENT, (OWN.trace_id, OWN.span_id, PARENT.span_id)),
    ],
)
def test_the_ids_are_those_that_the_flags_name(ring, own, parent, flags, ids):
    cells, read = ring
    cells.write(own, parent, 0, flags, FIELDS, b"", NOTHING)
    (cell,) = read().requests
    assert tuple(bytes(cell[name]) for name in ("trace_id", "span_id", "parent_id")) == ids


def test_a_long_id_is_cut_and_the_detail_stands_before_its_cell(ring):
    cells, read = ring
    long = b"r" * 60
    cells.write(None, None, 13, 0, FIELDS, long, Detail(error="it broke", request_id="r" * 60))
    chunk = read()
    (cell,) = chunk.requests
    assert cell["id_bytes"] == REQUEST_ID_BYTES
    assert bytes(cell["request_id"]) == long[:REQUEST_ID_BYTES]
    assert chunk.details[int(chunk.request_places[0])].error == "it broke"


@pytest.mark.parametrize("text", [b"", b"a", b"a" * 127, b"a" * 128, b"a" * 300])
def test_the_text_of_an_id_stands_behind_a_tag_and_a_length(text):
    length = (
        bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 127 | 128, len(text) >> 7])
    )
    assert id_text(b"\x1a" + length + text) == text


def test_a_response_without_an_id_has_no_id_field():
    assert id_text(b"") == b""
