"""What protections decide, as frozen records, for whoever wants to see it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

_KEPT: Final = 1000


class Decisions:
    """Passes every record on, and keeps the last thousand."""

    def __init__(self) -> None:
        self.last: deque[object] = deque(maxlen=_KEPT)
        self._listeners: list[Callable[[object], None]] = []

    def told(self, record: object) -> None:
        """Something was decided."""
        self.last.append(record)
        for listener in self._listeners:
            listener(record)

    def listen(self, listener: Callable[[object], None]) -> None:
        """Has every record told from here on."""
        self._listeners.append(listener)

    def __repr__(self) -> str:
        return f"<Decisions {len(self.last)} kept>"
