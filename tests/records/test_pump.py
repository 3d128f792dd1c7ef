"""All rings are read to their end, and what found no room in them is reported once."""

import asyncio
import logging
import os
import time

import pytest

from gateway.records.cells import REQUEST, REQUEST_PLAIN
from gateway.records.pump import Pump
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import CELLS, size_rings_file

SLOTS = 2


class Counter:
    def __init__(self):
        self.slots = []

    def consume(self, chunk):
        self.slots += [chunk.slot] * len(chunk.requests)


@pytest.fixture
def rings():
    """Two writers, and a reader of their rings for a counter."""
    fd = os.memfd_create("rings")
    size_rings_file(fd, SLOTS)
    counter = Counter()
    yield (
        [RingWriter(fd, slot) for slot in range(SLOTS)],
        Pump([RecordReader(slot, RingReader(fd, slot)) for slot in range(SLOTS)], [counter]),
        counter,
    )
    os.close(fd)


def write(writer, count):
    for number in range(count):
        at = writer.offset()
        if at >= 0:
            REQUEST_PLAIN.pack_into(
                writer.cells, at, REQUEST, 0, 0, 0, 0, number, number, 0, 1, 1.0, 4, 0, 0
            )
    writer.publish()


def test_the_rest_is_all_that_was_written_however_much_that_is(rings):
    writers, reading, counter = rings
    write(writers[0], CELLS)
    write(writers[1], 5)
    reading.rest()
    assert (counter.slots.count(0), counter.slots.count(1)) == (CELLS, 5)


def test_the_rest_ends_where_what_belongs_to_a_note_was_never_written(rings):
    from gateway.records.events import Detail, encode

    writers, reading, counter = rings
    write(writers[0], 3)
    writers[0].write_event(encode(Detail(error="of a request that a killed process did not write")))
    writers[0].publish()
    reading.rest()
    assert counter.slots == [0, 0, 0]


def test_what_found_no_room_is_warned_of_once(rings, caplog):
    writers, reading, counter = rings
    write(writers[0], CELLS + 7)
    reading.poll()
    write(writers[0], 4)
    reading.rest()
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert warned[0].startswith("7 records of requests were dropped")
    assert len(counter.slots) == CELLS


def test_a_ring_that_fills_is_read_at_once_not_at_the_next_look(rings):
    writers, reading, counter = rings
    write(writers[0], CELLS)

    async def run():
        running = asyncio.create_task(reading.run())
        end = time.monotonic() + 20
        while len(counter.slots) < CELLS:
            assert time.monotonic() < end
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(run())
