"""What one serving process wrote since the last look, sorted by kind.

For whoever makes spans, counts or lines of it.
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
    LINK,
    LINK_CELL,
    NOTE,
    REQUEST,
    REQUEST_CELL,
    Cells,
)
from gateway.records.events import Began, Decided, Detail, Gauges, Named, decode
from gateway.records.ring import LONGEST_NOTE, RingReader, note_text
from gateway.records.span_ids import Identifiers

_log = logging.getLogger(__name__)
_MOST_NAMES: Final = 8192  # of a kind: twice as many as the writer remembers
_MOST_CELLS: Final = 2 * LONGEST_NOTE  # at a time: 2 MiB, and what is made of them


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
    identifiers: Identifiers
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
    decided: tuple[Decided, ...] = ()
    gauges: tuple[Gauges, ...] = ()


class ChunkReader:
    """Reads the ring of one slot, whichever process writes it."""

    def __init__(
        self, slot: int, ring: RingReader, versions: Mapping[int, tuple[str, int]] | None = None
    ) -> None:
        """`versions`: what rows stand for until the process has told this reader itself."""
        self._slot = slot
        self._ring = ring
        self._pid, self._seed = ring.left
        self._identifiers = Identifiers(self._seed)
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
        """More is there than one look takes."""
        return self._ring.unread > _MOST_CELLS

    def read(self) -> Chunk | None:
        """The next stretch; None where there is nothing new."""
        first, cells = self._ring.read(_MOST_CELLS)
        if not len(cells):
            return None
        kinds = cells.view(np.uint8).reshape(len(cells), -1)[:, 0]
        details: dict[int, Detail] = {}
        decided: list[Decided] = []
        gauges: list[Gauges] = []
        end = self._read_notes(first, cells, kinds, details, decided, gauges)
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
            decided=tuple(decided),
            gauges=tuple(gauges),
        )

    def _read_notes(
        self,
        first: int,
        cells: Cells,
        kinds: Any,
        details: dict[int, Detail],
        decided: list[Decided],
        gauges: list[Gauges],
    ) -> int:
        """Returns how many of the cells are whole. A new process begins a chunk of its own."""
        for at in np.flatnonzero(kinds == NOTE).tolist():
            found = note_text(cells, at)
            if found is None:
                return at
            try:
                note = decode(found[0])
            except (ValueError, EOFError, TypeError, IndexError):
                _log.warning(
                    "a note of serving process %d cannot be read", self._slot, exc_info=True
                )
                continue
            if (isinstance(note, Began) and at) or (
                isinstance(note, Detail) and found[1] == len(cells)
            ):
                # another process, maybe, whose numbers mean something else; or the request
                # of the detail is not there yet
                return at
            match note:
                case Began() | Named():
                    self._learn(note)
                case Detail():
                    details[first + found[1]] = note
                case Decided():
                    decided.append(note)
                case Gauges():
                    gauges.append(note)
        return len(cells)

    def _learn(self, note: Began | Named) -> None:
        if isinstance(note, Began):
            # else the same process says it again, for a reader that may not know
            if note.seed != self._seed:
                self._pid = note.pid
                self._seed = note.seed
                self._identifiers = Identifiers(note.seed)
                self._ring.leave(note.pid, note.seed)
            self._peers = {}
            self._instances = {}
            self._versions = {}
        elif note.kind == "version":
            model, _, version = note.text.rpartition("/")
            self._versions[note.number] = model, int(version)
        else:
            names = self._peers if note.kind == "peer" else self._instances
            names[note.number] = note.text
            if len(names) > _MOST_NAMES:
                del names[next(iter(names))]

    def __repr__(self) -> str:
        return f"<ChunkReader {self._slot}: {self._ring!r}>"
