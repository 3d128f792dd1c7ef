"""The names behind the numbers in cells, which a serving process writes for its ring's reader.

A name is written before its number is used, and again where that was lost: with a reader that died,
or because the ring had no room for it.
"""

from __future__ import annotations

import os
from typing import Final

from gateway.records.events import NameAssigned, ProcessStarted, encode
from gateway.records.ring import RingWriter

_MOST: Final = 4096  # of a kind; then they are given anew, and their reader forgets the oldest


class NameTable:
    """Numbers the peers and instances of one process, from 1; 0 stands for what has no name."""

    def __init__(self, ring: RingWriter) -> None:
        self._ring = ring
        self._began = ProcessStarted(os.getpid(), os.urandom(16))
        self._given = 0
        self._peers: dict[str, int] = {}
        self._instances: dict[str, int] = {"": 0}
        self._versions: dict[int, str] = {}
        self._write_all()

    @property
    def seed(self) -> bytes:
        """16 random bytes, from which readers make the ids that nobody asked for meanwhile.

        See `gateway.records.span_ids`.
        """
        return self._began.seed

    def peer(self, text: str) -> int:
        """The number of a peer, as gRPC writes it."""
        number = self._peers.get(text)
        return self._named(self._peers, "peer", text) if number is None else number

    def instance(self, name: str) -> int:
        """The number of an instance."""
        number = self._instances.get(name)
        return self._named(self._instances, "instance", name) if number is None else number

    def version(self, row: int, name: str) -> None:
        """Says that from here on cells with this row are of this version; `name`: MODEL/VERSION."""
        self._versions[row] = name
        if not self._write(NameAssigned("version", row, name)):
            self._complete = False

    def refresh(self) -> None:
        """Writes everything again where another reader reads now, or the ring had no room.

        It is to be called now and then.
        """
        if self._reader != self._ring.reader or not self._complete:
            self._write_all()

    def _named(self, known: dict[str, int], kind: str, text: str) -> int:
        if len(known) >= _MOST:
            self._forget(known)
        number = (self._given + 1) & 0x7FFFFFFF
        self._given = number
        if self._write(NameAssigned(kind, number, text)):
            known[text] = number
        return number

    def _write_all(self) -> None:
        """Writes all versions; peers and instances are named when they come up next."""
        self._reader = self._ring.reader
        self._forget(self._peers)
        self._forget(self._instances)
        versions = (NameAssigned("version", row, name) for row, name in self._versions.items())
        self._complete = self._write(self._began) and all(map(self._write, versions))

    def _forget(self, known: dict[str, int]) -> None:
        known.clear()
        if known is self._instances:
            known[""] = 0

    def _write(self, event: ProcessStarted | NameAssigned) -> bool:
        return self._ring.write_event(encode(event))

    def __repr__(self) -> str:
        return (
            f"<NameTable {len(self._peers)} peers, {len(self._instances) - 1} instances, "
            f"{len(self._versions)} versions>"
        )
