"""What was counted within the last seconds, by version, for the page of the telemetry process.

It is the counters now, less those of some samples ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.core.plan import Key
from gateway.records.counters import GATEWAY_ROW, StatisticsTable
from gateway.records.counting.counter_layout import HEAD_WORDS
from gateway.telemetry.live.rates import COLUMNS, Integers

NO_KEY: Final[Key] = ("", 0)
"""Stands for requests for which no version was found."""


@dataclass
class _Sample:
    at_ns: int
    words: Integers


class CounterWindow:
    """Samples the counters, and keeps enough samples to look back over `samples` steps."""

    def __init__(self, counters: StatisticsTable, samples: int) -> None:
        self._counters = counters
        self._samples: deque[_Sample] = deque(maxlen=samples + 1)
        self._rows: tuple[tuple[int, Key], ...] = ()
        self.keys: tuple[Key, ...] = ()
        """The versions in `within`, in its order; the last is `NO_KEY`."""

    def refresh(self, now_ns: int, rows: Mapping[int, Key]) -> None:
        """Reads the counters of these rows.

        What a version had counted before it is first seen here is not new.
        """
        wanted = (*sorted(rows.items()), (GATEWAY_ROW, NO_KEY))
        words = self._read([row for row, _ in wanted])
        if wanted != self._rows:
            self._follow(wanted, words)
        for sample in self._samples:
            # the row was cleared: all that it has is new
            sample.words[(words < sample.words).any(1)] = 0
        self._samples.append(_Sample(now_ns, words))

    def within(self) -> tuple[Integers, float]:
        """What was counted, a row for each of `keys`, and in how many seconds."""
        first = self._samples[0]
        last = self._samples[-1]
        return last.words - first.words, max((last.at_ns - first.at_ns) / 1e9, 1e-3)

    def _read(self, rows: list[int]) -> Integers:
        words = np.frombuffer(b"".join(map(self._counters.head, rows)), np.int64).reshape(
            len(rows), -1, HEAD_WORDS
        )
        summed: Integers = words[:, :, COLUMNS].sum(1)
        return summed

    def _follow(self, wanted: tuple[tuple[int, Key], ...], words: Integers) -> None:
        """Brings the samples so far in line with other rows."""
        places = {entry: place for place, entry in enumerate(self._rows)}
        known = [(new, places[entry]) for new, entry in enumerate(wanted) if entry in places]
        now, then = np.array(known, np.intp).reshape(-1, 2).T
        for sample in self._samples:
            moved = words.copy()
            moved[now] = sample.words[then]
            sample.words = moved
        self._rows = wanted
        self.keys = tuple(key for _, key in wanted)

    def __repr__(self) -> str:
        return f"<CounterWindow {len(self._rows)} rows, {len(self._samples)} samples>"
