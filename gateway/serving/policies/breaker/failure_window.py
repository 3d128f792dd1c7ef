"""The counts behind a circuit breaker of a serving process.

Failures in a row, and the share of failures in a sliding window, are kept where pybreaker looks for
its counter. pybreaker compares one number, the `counter` of its storage, with `fail_max`, and
counts failures in a row only. Where the share of failures in the window is too high, this storage
answers `fail_max`, and pybreaker opens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from pybreaker import STATE_CLOSED, CircuitMemoryStorage

from gateway.core.protection import BreakerPlan

BUCKETS: Final = 10  # as in Hystrix's rolling window


class FailureWindow:
    """Outcomes of the last `length_s` seconds in a ring of buckets.

    The oldest tenth leaves at once. 0 s: nothing is kept.
    """

    __slots__ = ("_bucket_s", "_failures", "_newest", "_outcomes", "failures", "outcomes")

    def __init__(self, length_s: float) -> None:
        self._bucket_s = length_s / BUCKETS
        self._newest = 0
        self.clear()

    def clear(self) -> None:
        """Forgets all outcomes."""
        self._outcomes = [0] * BUCKETS
        self._failures = [0] * BUCKETS
        self.outcomes = 0
        self.failures = 0

    def record(self, now: float, failed: bool) -> None:
        """One more outcome."""
        if not self._bucket_s:
            return
        self.slide(now)
        bucket = self._newest % BUCKETS
        self._outcomes[bucket] += 1
        self.outcomes += 1
        if failed:
            self._failures[bucket] += 1
            self.failures += 1

    def slide(self, now: float) -> None:
        """Drops what is too old. A clock that stands still or goes back changes nothing."""
        newest = int(now / self._bucket_s) if self._bucket_s else 0
        if newest <= self._newest:
            return
        for passed in range(self._newest + 1, min(newest, self._newest + BUCKETS) + 1):
            bucket = passed % BUCKETS
            self.outcomes -= self._outcomes[bucket]
            self.failures -= self._failures[bucket]
            self._outcomes[bucket] = 0
            self._failures[bucket] = 0
        self._newest = newest


class FailureWindowStorage(CircuitMemoryStorage):
    """pybreaker's memory with a window beside the failures in a row.

    pybreaker reports every failure by `increment_counter` and every success by `reset_counter`; it
    calls the latter also when it closes, so the caller that closes it calls `clear` afterwards.
    """

    def __init__(self, plan: BreakerPlan, now: Callable[[], float]) -> None:
        super().__init__(STATE_CLOSED)
        self.fail_max = plan.consecutive_failures or sys.maxsize
        self.window = FailureWindow(plan.window_s if plan.failure_rate else 0)
        # which a window that keeps nothing never holds
        self._minimum = max(plan.minimum_batches, 1)
        self._plan = plan
        self._now = now

    def increment_counter(self) -> None:
        """A failure."""
        self._fail_counter += 1
        self.window.record(self._now(), failed=True)

    def reset_counter(self) -> None:
        """A success."""
        self._fail_counter = 0
        self.window.record(self._now(), failed=False)

    @property
    def counter(self) -> int:
        """Failures in a row, or `fail_max` where the window holds too large a share of them.

        Asked by pybreaker after a failure.
        """
        return self.fail_max if self._rate_exceeded() else self._fail_counter

    @property
    def consecutive(self) -> int:
        """Failures since the last success."""
        return self._fail_counter

    def clear(self) -> None:
        """Starts anew."""
        self._fail_counter = 0
        self.window.clear()

    def reason(self) -> str:
        """Why it opened, for people; asked right after that."""
        if self._fail_counter >= self.fail_max:
            return (
                f"{self._fail_counter} consecutive batches failed"
                if self._fail_counter > 1
                else "a batch failed"
            )
        return (
            f"{self.window.failures} of {self.window.outcomes} batches failed "
            f"within {self._plan.window_s:g} s"
        )

    def _rate_exceeded(self) -> bool:
        window = self.window
        return (
            window.outcomes >= self._minimum
            and window.failures >= self._plan.failure_rate * window.outcomes
        )
