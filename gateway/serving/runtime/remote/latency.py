"""How long an instance takes, so that one that stands out among its siblings is given less.

Runs in a serving process. It is a weight, not a switch: least outstanding work (batches times
expected time) gives an instance that takes ten times as long a tenth, and under full load still its
share, which throwing it out would take from everybody. Instances that fail are left alone by their
circuit breakers.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

# the median follows a change after half of them, and one long pause moves it not at all
_SAMPLES: Final = 16
# of what is known about an instance that is given nothing: it must be tried again
# (Finagle's peak EWMA: 10 s, too)
_HALF_LIFE_S: Final = 10.0


class MovingLatency:
    """The median of an instance's last batches, forgotten while it runs none."""

    __slots__ = ("_durations", "_last", "_median")

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=_SAMPLES)
        self._median = 0.0
        self._last = 0.0

    def add(self, duration_s: float, now: float) -> None:
        """Notes that a batch took so long, or was given up after so long."""
        self._durations.append(duration_s)
        self._median = statistics.median(self._durations)
        self._last = now

    def expected_s(self, now: float, oldest_s: float = 0.0) -> float:
        """Seconds the next batch is expected to take; 0: unknown.

        `oldest_s`: for how long the oldest of those under way has been, which counts.
        """
        known: float = self._median * 0.5 ** (max(0.0, now - self._last) / _HALF_LIFE_S)
        return max(known, oldest_s)

    def __repr__(self) -> str:
        return f"<MovingLatency {self._median * 1e3:.3f} ms, {len(self._durations)} batches>"
