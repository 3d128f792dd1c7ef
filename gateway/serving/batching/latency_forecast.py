"""How long the waiting requests of a version will take, seen from one serving process.

It goes by the measured cost curve, corrected by what is seen. While requests wait all the time,
the pace at which batches end says everything: the runs, what Python adds to each request, and what
other versions take of the machine. Without such a pace, or when it is old, the curve speaks.

Refusing costs time as well, so a server that refuses looks slow, and would refuse still more. Two
things prevent that: only batches that are at least half full tell the pace, and what counts is the
best pace of the last seconds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

_WEIGHT: Final = 0.1  # of the newest batch
# an observation that is older says nothing: else who refuses everybody
# would never learn that it is over
_TRUSTED_S: Final = 1.0
_WINDOW_S: Final = 2.0
_HOPE: Final = 0.5  # of the curve, which may have been measured on a busy machine
_LONGEST_PAUSE_S: Final = 10.0  # between two ends of batches; more was a machine asleep


class _Best:
    """The lowest of smoothed samples in the last two to four seconds."""

    __slots__ = ("_before", "_current", "_smoothed", "_until", "at", "value")

    def __init__(self, value: float) -> None:
        self.value = value
        self._smoothed = value
        self._current = value
        self._before = value
        self.at = -_TRUSTED_S
        self._until = self.at

    def add(self, sample: float, now: float) -> None:
        """One more sample; after a pause it starts anew."""
        if now - self.at > _TRUSTED_S:
            self._smoothed = sample
            self._current = sample
            self._before = sample
            self._until = now + _WINDOW_S
        else:
            self._smoothed += (sample - self._smoothed) * _WEIGHT
            if now >= self._until:
                self._before = self._current
                self._current = self._smoothed
                self._until = now + _WINDOW_S
            self._current = min(self._current, self._smoothed)
        self.value = min(self._before, self._current)
        self.at = now


class LatencyForecast:
    """Predicts runs and waits of one version.

    All times are seconds; `now` is the batcher's clock.
    """

    def __init__(
        self, cost_us: Sequence[tuple[int, float]], batch_rows: int, max_concurrency: int
    ) -> None:
        """`cost_us`: wall time of a run by rows, ascending; may be empty.

        `max_concurrency`: batches that run at the same time.
        """
        self._sizes = [rows for rows, _ in cost_us]
        self._costs_s = [cost * 1e-6 for _, cost in cost_us]
        self._batch_rows = max(1, batch_rows)
        self._max_concurrency = max(1, max_concurrency)
        self._correction = _Best(1.0)
        self._row_s = _Best(
            self._curve_s(self._batch_rows) / self._batch_rows / self._max_concurrency
        )
        self._last_end = -1.0

    def run_s(self, rows: int, now: float) -> float:
        """How long a run of so many rows takes, from its start to its end; 0: nothing is known.

        Without a run of late it is rather too short: who is let in for nothing costs one run, who
        is refused for nothing teaches nothing.
        """
        return self._curve_s(rows) * (
            self._correction.value if now - self._correction.at <= _TRUSTED_S else _HOPE
        )

    def least_s(self, rows: int, now: float) -> float:
        """What a run of so many rows takes at the very least."""
        return min(self._curve_s(rows) * _HOPE, self.run_s(rows, now))

    def answer_s(self, rows: int, now: float) -> float:
        """How long from the start of a run of so many rows to the last of its answers.

        While requests wait, what the loop does between two batches (answers leave, new requests are
        read) takes about half of a round again.
        """
        busy_s = rows * self._row_s.value / 2 if now - self._row_s.at <= _TRUSTED_S else 0.0
        return self.run_s(rows, now) + busy_s

    def wait_s(self, rows_ahead: int, now: float) -> float:
        """How long until so many waiting rows have been taken."""
        if now - self._row_s.at <= _TRUSTED_S:
            return rows_ahead * self._row_s.value
        return (
            rows_ahead
            * self.run_s(self._batch_rows, now)
            / self._batch_rows
            / self._max_concurrency
        )

    def ran(self, rows: int, run_s: float, now: float, *, backlog: bool) -> None:
        """A batch has ended; `backlog`: requests wait behind it.

        `run_s` of 0: it failed, and says nothing.
        """
        if not run_s:
            self._last_end = -1.0
            return
        expected_s = self._curve_s(rows)
        if expected_s:
            self._correction.add(run_s / expected_s, now)
        else:
            # no curve: the first run seen is one
            self._sizes = [max(1, rows)]
            self._costs_s = [run_s]
            self._correction.add(1.0, now)
        if (
            self._last_end >= 0.0
            and now - self._last_end < _LONGEST_PAUSE_S
            and 2 * rows >= self._batch_rows
        ):
            self._row_s.add((now - self._last_end) / max(1, rows), now)
        self._last_end = now if backlog else -1.0

    def _curve_s(self, rows: int) -> float:
        sizes = self._sizes
        costs_s = self._costs_s
        if not sizes:
            return 0.0
        at = bisect_left(sizes, rows)
        if at == len(sizes):
            return costs_s[-1] * rows / sizes[-1]
        if at == 0 or sizes[at] == rows:
            return costs_s[at]
        low = sizes[at - 1]
        high = sizes[at]
        return costs_s[at - 1] + (costs_s[at] - costs_s[at - 1]) * (rows - low) / (high - low)

    def __repr__(self) -> str:
        return (
            f"<LatencyForecast {self._row_s.value * 1e6:.1f} us a row, runs "
            f"{self._correction.value:.2f} times the curve>"
        )
