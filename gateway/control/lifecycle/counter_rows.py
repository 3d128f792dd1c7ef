"""Which row of the statistics table belongs to which version; assigned in the control process."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.plan import Key
from gateway.records.counters import GATEWAY_ROW


class CounterRows:
    """Gives each version a row, and keeps it for the version as long as possible.

    A version that is loaded again goes on with its numbers. Only when no row is unused, the row of
    the version that has been gone longest is given to another one.
    """

    def __init__(self, clear: Callable[[int], None], rows: int = GATEWAY_ROW) -> None:
        """`clear` sets a row to zero, before it is given to another version."""
        self._clear = clear
        self.size = rows
        """How many versions may be live."""
        self._assigned: dict[Key, int] = {}
        self._gone: dict[Key, None] = {}

    def __repr__(self) -> str:
        return (
            f"<CounterRows {len(self._assigned)} of {self.size} assigned, {len(self._gone)} of "
            "them to versions that are gone>"
        )

    def assign(self, key: Key) -> int:
        """The version's row; -1 where every row is a live version's: it can then not be served."""
        self._gone.pop(key, None)
        if key not in self._assigned:
            row = self._unused()
            if row < 0:
                return row
            self._assigned[key] = row
        return self._assigned[key]

    def release(self, key: Key) -> None:
        """No process counts for the version any more, so that its row may be given away."""
        if key in self._assigned:
            self._gone.pop(key, None)
            self._gone[key] = None

    def _unused(self) -> int:
        if len(self._assigned) < self.size:
            return len(self._assigned)
        if not self._gone:
            return -1
        oldest = next(iter(self._gone))
        del self._gone[oldest]
        row = self._assigned.pop(oldest)
        self._clear(row)
        return row
