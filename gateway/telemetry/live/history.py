"""The figures of the last minutes, a point a second, for the charts of the telemetry process.

They are kept of everything together and of each version that did anything.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.core.plan import Key
from gateway.telemetry.live.rates import FIGURES, Numbers

POINTS: Final = 300
"""Five minutes."""
GAUGES: Final = ("queued", "in_flight")
CHARTED: Final = (
    "calls_per_s", "errors_per_s", "degraded_per_s", "latency_p50_ms", "latency_p90_ms",
    "latency_p99_ms", "queue_p90_ms", "rows_per_batch",
)  # fmt: skip
COLUMNS: Final = (*CHARTED, *GAUGES)
CHARTED_AT: Final = [FIGURES.index(name) for name in CHARTED]
_IDLE: Final = [None if name.endswith(("_ms", "_per_batch")) else 0.0 for name in COLUMNS]


@dataclass(frozen=True)
class Point:
    """The figures of one second.

    `numbers` has a row of all versions together, then one of each version that did anything;
    `places` says which row is whose.
    """

    at_s: float
    places: dict[Key, int]
    numbers: np.ndarray[Any, np.dtype[np.float32]]


class History:
    """Keeps the last `POINTS` points."""

    def __init__(self) -> None:
        self._points: deque[Point] = deque(maxlen=POINTS)
        self._born: dict[Key, float] = {}

    def add(
        self, at_s: float, keys: tuple[Key, ...], numbers: Numbers, known: tuple[Key, ...]
    ) -> None:
        """Adds a point.

        `numbers`: `COLUMNS` of all together, then of each of `keys`. `known`: all versions that
        there are, idle or not.
        """
        # the clock was set back: a chart that goes on has no place for what was then
        if self._points and at_s <= self._points[-1].at_s:
            self._points.clear()
            self._born = {}
        previous = self._points[-1].places if self._points else {}
        same = len(previous) == len(keys) and tuple(previous) == keys
        self._points.append(
            Point(
                at_s,
                previous if same else {key: place for place, key in enumerate(keys, 1)},
                numbers.astype(np.float32),
            )
        )
        self._born = {key: self._born.get(key, at_s) for key in known}

    def columns(
        self, key: Key | None, since_s: float = 0.0
    ) -> dict[str, list[float | None]] | None:
        """Times and `COLUMNS` of points after `since_s`; of all together where `key` is None.

        None: there is no such version.
        """
        if key is not None and key not in self._born:
            return None
        first_s = max(since_s, 0.0 if key is None else self._born[key] - 1e-6)
        points = [point for point in self._points if point.at_s > first_s]
        rows = [_row(point, key) for point in points]
        values = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
        return {
            "at_s": [round(point.at_s, 3) for point in points],
            **{name: list(each) for name, each in zip(COLUMNS, values, strict=True)},
        }

    def __repr__(self) -> str:
        return f"<History {len(self._points)} of {POINTS} points>"


def _row(point: Point, key: Key | None) -> list[float | None]:
    place = 0 if key is None else point.places.get(key)
    if place is None:
        return list(_IDLE)
    # NaN is unlike itself
    return [None if value != value else round(value, 3) for value in point.numbers[place].tolist()]  # noqa: PLR0124
