"""What was counted within the last seconds, by version.

The counters now, less those of some looks ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.core.plan import Key
from gateway.records.counters import HOUSE_ROW, StatisticsTable
from gateway.records.counting.counter_layout import HEAD_WORDS
from gateway.telemetry.live.rates import COLUMNS, Integers

NO_KEY: Final[Key] = ("", 0)
"""Stands for requests for which no version was found."""


@dataclass
class _Look:
    at_ns: int
    words: Integers


class Counted:
    """Looks at the counters, and keeps so many looks."""

    def __init__(self, counters: StatisticsTable, looks: int) -> None:
        self._counters = counters
        self._looks: deque[_Look] = deque(maxlen=looks + 1)
        self._rows: tuple[tuple[int, Key], ...] = ()
        self.keys: tuple[Key, ...] = ()
        """Of the versions in `within`, in its order; the last is `NO_KEY`."""

    def look(self, now_ns: int, rows: Mapping[int, Key]) -> None:
        """Reads the counters of these rows.

        What a version had counted before it is first seen here is not new.
        """
        asked = (*sorted(rows.items()), (HOUSE_ROW, NO_KEY))
        words = self._read([row for row, _ in asked])
        if asked != self._rows:
            self._follow(asked, words)
        for look in self._looks:
            # the row was cleared: all that it has is new
            look.words[(words < look.words).any(1)] = 0
        self._looks.append(_Look(now_ns, words))

    def within(self) -> tuple[Integers, float]:
        """What was counted, a row for each of `keys`, and in how many seconds."""
        first = self._looks[0]
        last = self._looks[-1]
        return last.words - first.words, max((last.at_ns - first.at_ns) / 1e9, 1e-3)

    def _read(self, rows: list[int]) -> Integers:
        words = np.frombuffer(b"".join(map(self._counters.head, rows)), np.int64).reshape(
            len(rows), -1, HEAD_WORDS
        )
        summed: Integers = words[:, :, COLUMNS].sum(1)
        return summed

    def _follow(self, asked: tuple[tuple[int, Key], ...], words: Integers) -> None:
        """Brings the looks so far in line with other rows."""
        places = {entry: place for place, entry in enumerate(self._rows)}
        known = [(new, places[entry]) for new, entry in enumerate(asked) if entry in places]
        now, then = np.array(known, np.intp).reshape(-1, 2).T
        for look in self._looks:
            moved = words.copy()
            moved[now] = look.words[then]
            look.words = moved
        self._rows = asked
        self.keys = tuple(key for _, key in asked)

    def __repr__(self) -> str:
        return f"<Counted {len(self._rows)} rows, {len(self._looks)} looks>"
