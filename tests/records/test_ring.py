"""The ring of cells: what is written is read once, in order, or counted as lost."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.records.cells import BATCH, EVENT_ROOM, REQUEST, REQUEST_PLAIN
from gateway.records.events import (
    Detail,
    Gauges,
    InstanceGauges,
    NameAssigned,
    ProcessStarted,
    StateChanged,
    VersionGauges,
    decode,
    encode,
)
from gateway.records.reader import RecordReader
from gateway.records.ring import LONGEST_EVENT, RingReader, RingWriter
from gateway.records.ring_file import CELLS, size_rings_file


@pytest.fixture
def rings_fd():
    fd = os.memfd_create("rings")
    size_rings_file(fd, 2)
    yield fd
    os.close(fd)


def write(writer, number, kind=REQUEST):
    at = writer.offset()
    if at >= 0:
        REQUEST_PLAIN.pack_into(
            writer.cells, at, kind, 0, 0, 0, 0, number, number, 0, 1, 1.0, 4, 0, 0
        )
    return at >= 0


def read(reader):
    """Reads all that is there: the first read only sees it."""
    chunks = [reader.read() for _ in range(3)]
    return [chunk for chunk in chunks if chunk is not None]


def test_what_is_not_published_is_not_read(rings_fd):
    writer = RingWriter(rings_fd, 1)
    reader = RecordReader(1, RingReader(rings_fd, 1))
    write(writer, 5)
    assert not read(reader)
    writer.publish()
    (chunk,) = read(reader)
    assert chunk.requests["arrived_ns"].tolist() == [5]
    assert chunk.request_places.tolist() == [0]
    assert not read(reader)


def test_a_full_ring_counts_what_it_lets_go_and_takes_more_when_it_was_read(rings_fd):
    writer = RingWriter(rings_fd, 0)
    reader = RingReader(rings_fd, 0)
    assert all(write(writer, number) for number in range(CELLS))
    assert not write(writer, CELLS)
    assert not writer.write_event(b"x" * 1000)
    assert writer.dropped == 1 + 9
    writer.publish()
    reader.read()
    first, cells = reader.read()
    assert (first, len(cells)) == (0, CELLS)
    reader.advance(10)
    assert [write(writer, number) for number in range(11)] == [True] * 10 + [False]


def test_what_a_writer_left_is_read_after_its_end_and_its_successor_goes_on(rings_fd):
    writer = RingWriter(rings_fd, 0)
    write(writer, 1)
    writer.publish()
    del writer
    successor = RingWriter(rings_fd, 0)
    write(successor, 2)
    successor.publish()
    chunks = read(RecordReader(0, RingReader(rings_fd, 0)))
    assert [number for chunk in chunks for number in chunk.requests["arrived_ns"].tolist()] == [
        1,
        2,
    ]


def test_a_reader_that_is_started_anew_goes_on_where_the_last_one_stopped(rings_fd):
    writer = RingWriter(rings_fd, 0)
    write(writer, 1)
    writer.publish()
    assert len(read(RecordReader(0, RingReader(rings_fd, 0)))) == 1
    write(writer, 2)
    writer.publish()
    (chunk,) = read(RecordReader(0, RingReader(rings_fd, 0)))
    assert chunk.requests["arrived_ns"].tolist() == [2]


def test_a_new_process_begins_a_chunk_in_which_old_numbers_mean_nothing(rings_fd):
    writer = RingWriter(rings_fd, 0)
    for pid, name in ((1, "ipv4:1"), (2, "ipv4:2")):
        writer.write_event(encode(ProcessStarted(pid, os.urandom(16))))
        writer.write_event(encode(NameAssigned("peer", pid, name)))
        write(writer, pid)
    writer.publish()
    first, second = read(RecordReader(0, RingReader(rings_fd, 0)))
    assert (first.pid, dict(first.names.peers)) == (1, {1: "ipv4:1"})
    assert (second.pid, dict(second.names.peers)) == (2, {2: "ipv4:2"})


def test_a_note_too_long_for_one_look_is_counted_and_nothing_waits_for_its_end(rings_fd):
    writer = RingWriter(rings_fd, 0)
    reader = RecordReader(0, RingReader(rings_fd, 0))
    assert not writer.write_event(encode(Detail(error="x" * (3 << 20))))
    assert writer.dropped > 3 << 13
    assert writer.write_event(encode(Detail(error="x" * (LONGEST_EVENT - 1) * EVENT_ROOM)))
    write(writer, 5)
    writer.publish()
    assert [chunk.requests["arrived_ns"].tolist() for chunk in read(reader)] == [[5]]


def test_a_detail_is_written_only_where_its_request_finds_room_behind_it(rings_fd):
    writer = RingWriter(rings_fd, 0)
    for number in range(CELLS - 2):
        write(writer, number)
    detail = encode(Detail(error="x" * 150))
    assert not writer.write_event(detail, behind=1)
    assert writer.dropped == 3
    assert writer.write_event(detail)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.text(max_size=400), st.sampled_from([REQUEST, BATCH])), max_size=60),
    st.integers(0, CELLS - 1),
)
def test_details_belong_to_the_request_behind_them_wherever_the_ring_ends(written, start):
    fd = os.memfd_create("rings")
    size_rings_file(fd, 1)
    np.frombuffer(__import__("mmap").mmap(fd, 4096), np.int64, 2)[:] = start
    try:
        writer = RingWriter(fd, 0)
        reader = RecordReader(0, RingReader(fd, 0))
        expected = []
        for number, what in enumerate(written):
            if isinstance(what, str):
                writer.write_event(encode(Detail(error=what)))
                write(writer, number)
                expected.append((number, what))
            else:
                write(writer, number, what)
                if what == REQUEST:
                    expected.append((number, None))
        writer.publish()
        found = []
        for chunk in read(reader):
            for place, request in zip(chunk.request_places.tolist(), chunk.requests, strict=True):
                detail = chunk.details.get(place)
                found.append((int(request["arrived_ns"]), None if detail is None else detail.error))
        assert found == expected
    finally:
        os.close(fd)


def test_every_note_comes_out_as_it_went_in():
    gauges = Gauges(
        1,
        2,
        3.0,
        4,
        5,
        6.0,
        7,
        (
            VersionGauges(
                1, "m", 1, 0, 0, 0, 0, "closed", "", (InstanceGauges("a", True, 0, "open"),)
            ),
        ),
    )
    for note in (
        ProcessStarted(1, b"x" * 16),
        NameAssigned("peer", 1, "p"),
        Detail("e", retries=2),
        StateChanged(1, "breaker", "m", 1, "", "open", "why"),
        gauges,
    ):
        assert decode(encode(note)) == note
