"""What one serving process wrote since the last look, sorted by kind.

For consumers that make spans, counts or lines of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.records.cells import (
    BATCH,
    BATCH_CELL,
    CALL,
    CALL_CELL,
    EVENT,
    LINK,
    LINK_CELL,
    REQUEST,
    REQUEST_CELL,
    Cells,
)
from gateway.records.events import (
    Detail,
    Gauges,
    NameAssigned,
    ProcessStarted,
    StateChanged,
    decode,
)
from gateway.records.ring import LONGEST_EVENT, RingReader, event_text
from gateway.records.span_ids import SpanIds

_log = logging.getLogger(__name__)
_MOST_NAMES: Final = 8192  # of a kind: twice as many as the writer remembers
_MOST_CELLS: Final = 2 * LONGEST_EVENT  # at a time: 2 MiB, and what is made of them


@dataclass(frozen=True)
class Names:
    """What the numbers of a process stand for, as of the chunk that carries this."""

    peers: Mapping[int, str]
    instances: Mapping[int, str]
    versions: Mapping[int, tuple[str, int]]
    """Model and version by row of the statistics table."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of one ring.

    The cells of a kind are in the order they were written;
    `..._places` are their places in the ring.
    """

    slot: int
    pid: int
    identifiers: SpanIds
    names: Names
    requests: Cells
    request_places: np.ndarray[Any, np.dtype[np.uint64]]
    batches: Cells
    """A batch stands before its requests.

    The last ones of a chunk may have requests in the next.
    """
    links: Cells
    calls: Cells
    details: Mapping[int, Detail]
    """By the place of the request's cell."""
    state_changes: tuple[StateChanged, ...] = ()
    gauges: tuple[Gauges, ...] = ()


class RecordReader:
    """Reads the ring of one slot, whichever process writes it."""

    def __init__(
        self, slot: int, ring: RingReader, versions: Mapping[int, tuple[str, int]] | None = None
    ) -> None:
        """`versions`: what rows stand for until the process has written it for this reader."""
        self._slot = slot
        self._ring = ring
        self._pid, self._seed = ring.last_writer
        self._identifiers = SpanIds(self._seed)
        self._peers: dict[int, str] = {}
        self._instances: dict[int, str] = {}
        self._versions = dict(versions or {})

    @property
    def dropped(self) -> int:
        """Cells that found no room, ever."""
        return self._ring.dropped

    @property
    def unread(self) -> int:
        """Cells written and not read."""
        return self._ring.unread

    @property
    def backlog(self) -> bool:
        """More is there than one poll takes."""
        return self._ring.unread > _MOST_CELLS

    def read(self) -> Chunk | None:
        """The next stretch; None where there is nothing new."""
        first, cells = self._ring.read(_MOST_CELLS)
        if not len(cells):
            return None
        kinds = cells.view(np.uint8).reshape(len(cells), -1)[:, 0]
        details: dict[int, Detail] = {}
        state_changes: list[StateChanged] = []
        gauges: list[Gauges] = []
        end = self._read_events(first, cells, kinds, details, state_changes, gauges)
        cells = cells[:end]
        kinds = kinds[:end]
        self._ring.advance(first + end)
        is_request = kinds == REQUEST
        return Chunk(
            slot=self._slot,
            pid=self._pid,
            identifiers=self._identifiers,
            names=Names(dict(self._peers), dict(self._instances), dict(self._versions)),
            requests=cells[is_request].view(REQUEST_CELL),
            request_places=(np.flatnonzero(is_request) + first).astype(np.uint64),
            batches=cells[kinds == BATCH].view(BATCH_CELL),
            links=cells[kinds == LINK].view(LINK_CELL),
            calls=cells[kinds == CALL].view(CALL_CELL),
            details=details,
            state_changes=tuple(state_changes),
            gauges=tuple(gauges),
        )

    def _read_events(
        self,
        first: int,
        cells: Cells,
        kinds: Any,
        details: dict[int, Detail],
        state_changes: list[StateChanged],
        gauges: list[Gauges],
    ) -> int:
        """Returns how many of the cells are whole. A new process begins a chunk of its own."""
        for at in np.flatnonzero(kinds == EVENT).tolist():
            found = event_text(cells, at)
            if found is None:
                return at
            try:
                event = decode(found[0])
            except (ValueError, EOFError, TypeError, IndexError):
                _log.warning(
                    "an event of serving process %d cannot be read", self._slot, exc_info=True
                )
                continue
            if (isinstance(event, ProcessStarted) and at) or (
                isinstance(event, Detail) and found[1] == len(cells)
            ):
                # another process, maybe, whose numbers mean something else; or the request
                # of the detail is not there yet
                return at
            match event:
                case ProcessStarted() | NameAssigned():
                    self._learn(event)
                case Detail():
                    details[first + found[1]] = event
                case StateChanged():
                    state_changes.append(event)
                case Gauges():
                    gauges.append(event)
        return len(cells)

    def _learn(self, event: ProcessStarted | NameAssigned) -> None:
        if isinstance(event, ProcessStarted):
            # else the same process says it again, for a reader that may not know
            if event.seed != self._seed:
                self._pid = event.pid
                self._seed = event.seed
                self._identifiers = SpanIds(event.seed)
                self._ring.leave(event.pid, event.seed)
            self._peers = {}
            self._instances = {}
            self._versions = {}
        elif event.kind == "version":
            model, _, version = event.text.rpartition("/")
            self._versions[event.number] = model, int(version)
        else:
            names = self._peers if event.kind == "peer" else self._instances
            names[event.number] = event.text
            if len(names) > _MOST_NAMES:
                del names[next(iter(names))]

    def __repr__(self) -> str:
        return f"<RecordReader {self._slot}: {self._ring!r}>"
