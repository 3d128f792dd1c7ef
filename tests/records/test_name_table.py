"""Cells know their process, and their numbers have names.

A reader that came later knows both, and so does one after a ring was full.
"""

import os

import pytest

from gateway.records.cells import REQUEST, REQUEST_PLAIN
from gateway.records.name_table import NameTable
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import CELLS, size_rings_file


class Process:
    """The writing end, and readers that come and go."""

    def __init__(self, fd):
        self._fd = fd
        self.ring = RingWriter(fd, 0)
        self.names = NameTable(self.ring)
        self.reader = None

    def new_reader(self, **known):
        self.reader = RecordReader(0, RingReader(self._fd, 0), **known)

    def request(self, peer):
        number = self.names.peer(peer)
        at = self.ring.offset()
        if at >= 0:
            REQUEST_PLAIN.pack_into(
                self.ring.cells, at, REQUEST, 0, 0, 0, 7, 1, 2, 0, 1, 1.0, 4, number, 0
            )
        return at >= 0

    def read(self):
        """All chunks that are there."""
        self.ring.publish()
        chunks = [self.reader.read() for _ in range(2 + CELLS // (1 << 14))]
        return [chunk for chunk in chunks if chunk is not None]

    def fill(self):
        while self.ring.offset() >= 0:
            pass


@pytest.fixture
def fd():
    fd = os.memfd_create("rings")
    size_rings_file(fd, 1)
    yield fd
    os.close(fd)


@pytest.fixture
def process(fd):
    process = Process(fd)
    process.new_reader()
    return process


def peers(chunk):
    return [chunk.names.peers.get(number) for number in chunk.requests["peer"].tolist()]


def traces(chunk, places):
    return chunk.identifiers.request_traces(places).tobytes()


def test_a_later_reader_makes_the_same_ids_and_knows_the_process(process):
    process.request("ipv4:1")
    (before,) = process.read()
    process.new_reader()
    process.request("ipv4:1")
    (after,) = process.read()
    assert after.pid == before.pid == os.getpid()
    assert traces(after, before.request_places) == traces(before, before.request_places)


def test_a_later_reader_is_told_names_anew_and_knows_versions_at_once(process):
    process.names.version(7, "m/1")
    process.request("ipv4:1")
    process.read()
    process.new_reader(versions={7: ("m", 1)})
    process.request("ipv4:1")
    (between,) = process.read()
    assert between.names.versions == {7: ("m", 1)}
    process.names.refresh()
    process.request("ipv4:1")
    after = process.read()[-1]
    assert (peers(after), after.names.versions) == (["ipv4:1"], {7: ("m", 1)})


def test_a_process_that_says_itself_again_is_no_other_process(process):
    process.request("ipv4:1")
    process.read()
    process.new_reader()
    process.request("ipv4:1")
    (untold,) = process.read()
    process.names.refresh()
    process.request("ipv4:1")
    (told,) = process.read()
    assert told.identifiers is untold.identifiers


def test_names_that_found_no_room_are_told_when_there_is_some(process):
    process.fill()
    process.names.version(7, "m/1")
    assert not process.request("ipv4:1")
    process.read()
    process.names.refresh()
    assert process.request("ipv4:1")
    after = process.read()[-1]
    assert (peers(after), after.names.versions) == (["ipv4:1"], {7: ("m", 1)})


def test_a_process_that_began_with_a_full_ring_is_another_one_all_the_same(fd, process):
    process.request("ipv4:1")
    (of_first,) = process.read()
    process.fill()
    process.ring.publish()
    successor = Process(fd)
    process.read()
    successor.reader = process.reader
    successor.names.refresh()
    successor.request("ipv4:2")
    of_second = successor.read()[-1]
    assert peers(of_second) == ["ipv4:2"]
    assert traces(of_second, of_first.request_places) != traces(of_first, of_first.request_places)


def test_callers_and_instances_that_come_and_go_are_forgotten_in_the_end(process):
    for number in range(20_000):
        process.names.instance(f"worker {number}")
        process.request(f"ipv4:{number}")
        if number % 2000 == 1999:
            chunks = process.read()
    assert peers(chunks[-1])[-1] == "ipv4:19999"
    assert max(len(chunks[-1].names.peers), len(chunks[-1].names.instances)) <= 8192


def test_threads_of_the_process_itself_have_no_name(process):
    assert process.names.instance("") == 0
    assert process.names.instance("worker 1") == process.names.instance("worker 1") > 0
