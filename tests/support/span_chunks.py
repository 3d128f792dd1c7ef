"""Chunks as serving processes write them, with cells and events through a real ring."""

import math
import os
import time

from gateway.records.cells import (
    BATCH,
    BATCH_PLAIN,
    CALL,
    CALL_PLAIN,
    LINK,
    LINK_PLAIN,
    REQUEST,
    REQUEST_ID_AT,
    REQUEST_ID_BYTES,
    REQUEST_IDS,
    REQUEST_PLAIN,
    SAMPLED,
)
from gateway.records.events import NameAssigned, ProcessStarted, encode
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file

MS = 1_000_000
PLAIN_IDS = (bytes(16), bytes(8), bytes(8))


class Slot:
    """One serving process's ring and its reader."""

    def __init__(self, seed=b"0123456789abcdef", number=0):
        fd = os.memfd_create("rings")
        size_rings_file(fd, 1)
        self._ring = RingWriter(fd, 0)
        self._reader = RecordReader(number, RingReader(fd, 0))
        self.now = time.monotonic_ns() - 1000 * MS
        self.began(seed)

    def began(self, seed):
        """Writes what a serving process writes first: its start and the names of its numbers."""
        self.note(ProcessStarted(7, seed))
        for number, peer in enumerate(
            (
                "ipv4:127.0.0.1:5123",
                "ipv6:%5B::1%5D:77",
                "unix:/run/gateway.sock",
                "unix:",
                "ipv4:10.20.30.40:65535",
            )
        ):
            self.note(NameAssigned("peer", number, peer))
        self.note(NameAssigned("version", 0, "digits/3"))
        self.note(NameAssigned("version", 7, "größen/12"))
        self.note(NameAssigned("instance", 4, "worker 1"))
        self.note(NameAssigned("instance", 5, "10.0.0.1:8001"))

    def note(self, note):
        assert self._ring.write_event(encode(note))

    def batch(
        self,
        number,
        *,
        version=0,
        failed=0,
        kept=None,
        start=20,
        ran=60,
        rows=5,
        requests=3,
        instance=-1,
        padded=0,
    ):
        """Writes a batch; times are in milliseconds from the slot's `now`."""
        at = [self.now + ms * MS for ms in (start, ran, start + 5, ran + 3)]
        offset = self._ring.offset()
        how = (failed, failed if kept is None else kept, version)
        BATCH_PLAIN.pack_into(
            self._ring.cells,
            offset,
            BATCH,
            *how,
            at[0],
            at[1],
            number,
            rows,
            requests,
            at[2],
            instance,
            padded,
            at[3],
        )

    def request(
        self, *, detail=None, status=0, flags=SAMPLED, request_id=b"", version=0, arrived=0,
        ended=70, batch=0, rows=1, deadline=math.inf, size=256, peer=0, reason=0, ids=PLAIN_IDS,
    ):  # fmt: skip
        if detail is not None:
            self.note(detail)
        offset = self._ring.offset()
        cells = self._ring.cells
        request_id = request_id[:REQUEST_ID_BYTES]
        times = [self.now + ms * MS for ms in (arrived, ended)]
        REQUEST_PLAIN.pack_into(
            cells,
            offset,
            REQUEST,
            status,
            flags,
            len(request_id),
            version,
            *times,
            batch,
            rows,
            deadline,
            size,
            peer,
            reason,
        )
        REQUEST_IDS.pack_into(cells, offset + REQUEST_PLAIN.size, *ids)
        cells[offset + REQUEST_ID_AT : offset + REQUEST_ID_AT + len(request_id)] = request_id

    def link(self, number, trace, span):
        LINK_PLAIN.pack_into(self._ring.cells, self._ring.offset(), LINK, number, trace, span)

    def call(
        self,
        number,
        version,
        *,
        start,
        end,
        failed=0,
        instance=4,
        ids=(b"T" * 16, b"S" * 8, b"P" * 8),
    ):
        times = [self.now + ms * MS for ms in (start, end)]
        CALL_PLAIN.pack_into(
            self._ring.cells,
            self._ring.offset(),
            CALL,
            failed,
            version,
            *times,
            number,
            instance,
            *ids,
        )

    def chunk(self):
        """Publishes and returns what was written since the last chunk."""
        self._ring.publish()
        assert self._reader.read() is None
        return self._reader.read()
