"""One line of a serving process's queue: the waiting requests that may share a batch."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final

from gateway.serving.batching.queued_request import QueuedRequest

URGENCY: Final[Callable[[QueuedRequest], tuple[float, int]]] = attrgetter("deadline", "order")


class QueueLine:
    """Kept in the order they came, which is nearly always the order of urgency."""

    __slots__ = ("entries", "key", "level", "ordered", "rows")

    def __init__(self, key: tuple[object, ...], level: int) -> None:
        self.key = key
        self.level = level
        self.entries: list[QueuedRequest] = []
        self.ordered = True
        self.rows = 0

    def add(self, entry: QueuedRequest) -> None:
        """Lets a request wait at the end."""
        if self.entries and self.ordered:
            last = self.entries[-1]
            self.ordered = last.deadline < entry.deadline or (
                last.deadline == entry.deadline and last.order < entry.order
            )
        self.entries.append(entry)
        self.rows += entry.rows

    def order(self) -> None:
        """Puts the most urgent first."""
        if not self.ordered:
            self.entries.sort(key=URGENCY)
            self.ordered = True

    def __repr__(self) -> str:
        return f"<QueueLine {len(self.entries)} requests, {self.rows} rows>"
