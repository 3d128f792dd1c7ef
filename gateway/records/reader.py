"""What one serving process wrote since the last look, sorted by kind; for the telemetry process.

Its consumers make spans, metrics, log lines and the page of it.
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
    Event,
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
    """What the numbers of a process stand for in the chunk that carries this."""

    peers: Mapping[int, str]
    instances: Mapping[int, str]
    versions: Mapping[int, tuple[str, int]]
    """Model and version by row of the statistics table."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of one ring, written by one process.

    The cells of a kind are in the order they were written; `..._places` are their places in the
    ring.
    """

    slot: int
    pid: int
    identifiers: SpanIds
    names: Names
    requests: Cells
    request_places: np.ndarray[Any, np.dtype[np.uint64]]
    batches: Cells
    """A batch stands before its requests; the last ones may have requests in the next chunk."""
    links: Cells
    calls: Cells
    details: Mapping[int, Detail]
    """Details by the place of their request's cell."""
    state_changes: tuple[StateChanged, ...] = ()
    gauges: tuple[Gauges, ...] = ()


class _Events:
    """The events of one chunk, by kind."""

    def __init__(self) -> None:
        self.details: dict[int, Detail] = {}
        self.state_changes: list[StateChanged] = []
        self.gauges: list[Gauges] = []


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
        """Whether there is more than one poll takes."""
        return self._ring.unread > _MOST_CELLS

    def read(self) -> Chunk | None:
        """The next stretch; None where there is nothing new."""
        first, cells = self._ring.read(_MOST_CELLS)
        if not len(cells):
            return None
        kinds = cells.view(np.uint8).reshape(len(cells), -1)[:, 0]
        events = _Events()
        end = self._read_events(first, cells, kinds, events)
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
            details=events.details,
            state_changes=tuple(events.state_changes),
            gauges=tuple(events.gauges),
        )

    def _read_events(self, first: int, cells: Cells, kinds: Any, events: _Events) -> int:
        """Sorts the events of these cells, and returns how many of the cells the chunk may have.

        It ends before an event that is not whole, before a detail whose request is not there yet,
        and before a new process, whose numbers mean something else.
        """
        for at in np.flatnonzero(kinds == EVENT).tolist():
            found = event_text(cells, at)
            if found is None:
                return at
            data, behind = found
            match self._decoded(data):
                case ProcessStarted() if at:
                    return at
                case Detail() if behind == len(cells):
                    return at
                case ProcessStarted() | NameAssigned() as event:
                    self._learn(event)
                case Detail() as event:
                    events.details[first + behind] = event
                case StateChanged() as event:
                    events.state_changes.append(event)
                case Gauges() as event:
                    events.gauges.append(event)
        return len(cells)

    def _decoded(self, data: bytes) -> Event | None:
        """The event; None, and a warning, where these bytes are none."""
        try:
            return decode(data)
        except (ValueError, EOFError, TypeError, IndexError):
            _log.warning("an event of serving process %d cannot be read", self._slot, exc_info=True)
            return None

    def _learn(self, event: ProcessStarted | NameAssigned) -> None:
        if isinstance(event, ProcessStarted):
            # with the same seed the process repeats itself, for a reader that may not know
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
