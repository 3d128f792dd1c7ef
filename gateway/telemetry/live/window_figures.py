"""Rates and percentiles of the last seconds, as the telemetry process shows them on its page.

They are of all versions together, and of each that did anything within that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from gateway.core.errors import REASONS
from gateway.core.plan import Key
from gateway.records.counters import StatisticsTable
from gateway.telemetry.live.counter_window import NO_KEY, CounterWindow
from gateway.telemetry.live.rates import FIGURES, Numbers, failures, figures

ALL: Final = 0
"""The place of all versions together."""


class WindowFigures:
    """The figures of the last `window_s` samples, a second apart."""

    def __init__(self, counters: StatisticsTable, window_s: int) -> None:
        self._counters = CounterWindow(counters, window_s)
        self._failures: Numbers = np.zeros((1, len(REASONS)))
        self.numbers: Numbers = np.zeros((1, len(FIGURES)))
        """A row for each place, a column for each of `FIGURES`."""
        self.places: dict[Key, int] = {}
        """By version, of those that did anything; `NO_KEY` may be among them."""

    def refresh(self, now_ns: int, rows: Mapping[int, Key]) -> None:
        """Takes another sample of the counters of these rows, and calculates anew."""
        self._counters.refresh(now_ns, rows)
        counted, seconds = self._counters.within()
        active = np.flatnonzero(counted.any(1))
        counted = np.vstack((counted.sum(0), counted[active]))
        self.numbers = figures(counted, seconds)
        self._failures = failures(counted, seconds)
        keys = [self._counters.keys[at] for at in active.tolist()]
        self.places = {key: place for place, key in enumerate(keys, ALL + 1)}

    def described(self, place: int | None) -> dict[str, object]:
        """The figures at a place, as JSON has them; None: of a version that did nothing."""
        if place is None:
            return _IDLE
        # NaN is unlike itself
        values = [
            None if value != value else round(value, 3)  # noqa: PLR0124
            for value in self.numbers[place].tolist()
        ]
        reasons = {
            word: round(value, 3)
            for word, value in zip(REASONS, self._failures[place].tolist(), strict=True)
            if value
        }
        return {**dict(zip(FIGURES, values, strict=True)), "errors_per_s_by_reason": reasons}

    def __repr__(self) -> str:
        return f"<WindowFigures {len(self.places) - (NO_KEY in self.places)} active>"


_RATES: Final = [name for name in FIGURES if name.endswith("_per_s")]
_IDLE: Final[dict[str, object]] = {
    **{name: 0.0 if name in _RATES else None for name in FIGURES},
    "errors_per_s_by_reason": {},
}
