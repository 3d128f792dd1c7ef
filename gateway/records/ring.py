"""A ring of cells in shared memory: one process writes, one reads, and neither waits for the other.

Each serving process writes one, and the telemetry process reads them all. The memory outlives both:
what a process that was killed had written is read all the same; a reader that is started anew goes
on where the one before it stopped, and finds whose cells that one had read. A cell that finds no
room is counted and let go.

The head of a ring has words: cells ever written, cells ever read, cells that found no room, readers
that there ever were; then what a reader leaves to the next. What is written becomes readable when
`publish` is called, and is read at the earliest at the poll after the one that saw it: a processor
may show another's stores out of order, but not for milliseconds.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final

import numpy as np

from gateway.records.cells import EVENT, EVENT_HEAD, EVENT_ROOM, MORE, Cells
from gateway.records.ring_file import CELL_BYTES, CELLS, HEAD_BYTES, RING_BYTES

LONGEST_EVENT: Final = 1 << 13
"""The most cells of an event; a longer one is dropped, for readers take all of it at once."""

_WRITTEN, _READ, _DROPPED, _READERS = range(4)
_LEFT = struct.Struct("<q16s")
_LEFT_AT = 64
_MASK: Final = CELLS - 1


class RingWriter:
    """The writing end of the ring of a slot.

    `written` is the place that the next cell gets: it grows for ever.
    """

    def __init__(self, fd: int, slot: int) -> None:
        self._map = mmap.mmap(fd, RING_BYTES, offset=slot * RING_BYTES)
        self._words = memoryview(self._map)[:HEAD_BYTES].cast("q")
        self.cells = memoryview(self._map)[HEAD_BYTES:]
        self.written = self._words[_WRITTEN]
        self._limit = self._words[_READ] + CELLS

    @property
    def dropped(self) -> int:
        """Cells that found no room, ever."""
        return self._words[_DROPPED]

    @property
    def reader(self) -> int:
        """How many readers there ever were; a changed number means that another one reads now."""
        return self._words[_READERS]

    def offset(self) -> int:
        """Where in `cells` the next cell is to be written: 128 bytes, the first of them its kind.

        -1: there is no room, and that was counted.
        """
        place = self.written
        if place >= self._limit:
            self._limit = self._words[_READ] + CELLS
            if place >= self._limit:
                self._words[_DROPPED] += 1
                return -1
        self.written = place + 1
        return (place & _MASK) * CELL_BYTES

    def write_event(self, data: bytes, behind: int = 0) -> bool:
        """Writes an event over as many cells as it takes, all or none.

        False where there was no room for it, or for `behind` more cells after it.
        """
        cells = max(1, -(-len(data) // EVENT_ROOM))
        if self.written + cells + behind > self._limit or cells > LONGEST_EVENT:
            self._limit = self._words[_READ] + CELLS
            if self.written + cells + behind > self._limit or cells > LONGEST_EVENT:
                self._words[_DROPPED] += cells + behind
                return False
        for i in range(cells):
            at = (self.written & _MASK) * CELL_BYTES
            part = data[i * EVENT_ROOM : (i + 1) * EVENT_ROOM]
            EVENT_HEAD.pack_into(self.cells, at, MORE if i else EVENT, len(data))
            self.cells[at + EVENT_HEAD.size : at + EVENT_HEAD.size + len(part)] = part
            self.written += 1
        return True

    def publish(self) -> None:
        """Lets the reader see what was written."""
        self._words[_WRITTEN] = self.written

    def __repr__(self) -> str:
        return (
            f"<RingWriter {self.written - self._words[_READ]} of {CELLS} cells "
            f"unread, {self.dropped} dropped>"
        )


class RingReader:
    """The reading end of the ring of a slot."""

    def __init__(self, fd: int, slot: int) -> None:
        self._map = mmap.mmap(fd, RING_BYTES, offset=slot * RING_BYTES)
        self._words = np.frombuffer(self._map, np.int64, _READERS + 1)
        self._cells = np.frombuffer(self._map, np.dtype((np.void, CELL_BYTES)), CELLS, HEAD_BYTES)
        self._seen = int(self._words[_READ])
        self._words[_READERS] += 1

    @property
    def dropped(self) -> int:
        """Cells that found no room, ever."""
        return int(self._words[_DROPPED])

    @property
    def unread(self) -> int:
        """Cells written and not read."""
        return int(self._words[_WRITTEN] - self._words[_READ])

    def read(self, most: int = CELLS) -> tuple[int, Cells]:
        """The place of the first unread cell, and a copy of those that the last poll has seen.

        There are at most `most` of them, which count as unread until `advance`. The last event may
        lack its end: who reads goes no further than to its beginning.
        """
        first = int(self._words[_READ])
        ready = self._seen
        self._seen = int(self._words[_WRITTEN])
        count = min(ready - first, most)
        at = first & _MASK
        if at + count <= CELLS:
            return first, self._cells[at : at + count].copy()
        return first, np.concatenate((self._cells[at:], self._cells[: at + count - CELLS]))

    @property
    def last_writer(self) -> tuple[int, bytes]:
        """The pid and the seed of the process whose cells were read last; zeros: none was."""
        pid, seed = _LEFT.unpack_from(self._map, _LEFT_AT)
        return pid, seed

    def leave(self, pid: int, seed: bytes) -> None:
        """Sets `last_writer` for the next reader."""
        _LEFT.pack_into(self._map, _LEFT_AT, pid, seed)

    def advance(self, place: int) -> None:
        """All cells before this place have been read."""
        self._words[_READ] = place

    def __repr__(self) -> str:
        return f"<RingReader {self.unread} unread, {self.dropped} dropped>"


def event_text(cells: Cells, at: int) -> tuple[bytes, int] | None:
    """The bytes of the event that begins at this index, and the index behind it.

    None where its end is not there.
    """
    raw = cells[at:].view(np.uint8).reshape(-1, CELL_BYTES)
    length = int(raw[0, 4:8].view("<u4")[0])
    count = max(1, -(-length // EVENT_ROOM))
    if len(raw) < count:
        return None
    return raw[:count, EVENT_HEAD.size :].tobytes()[:length], at + count
