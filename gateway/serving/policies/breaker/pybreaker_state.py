"""pybreaker's state machine, as one circuit breaker of a serving process uses it.

pybreaker keeps counts, thresholds and states. Time, probe and generation are the gate's own
(`circuit_breaker`), because pybreaker as it stands

- goes by the wall clock, and lets everybody through once it is half-open: it is never asked whether
  a call may go, only given outcomes;
- counts calls that began before it opened, and starts its timeout anew: an outcome counts only in
  the generation it began in;
- takes an excluded exception for a success and a cancellation for a failure: where nothing was
  learnt nothing is reported to it;
- holds a lock during a call and raises through it: outcomes are reported by functions that return
  or raise at once, outside of every `await`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pybreaker

from gateway.core.protection import BreakerPlan
from gateway.serving.policies.breaker.failure_window import FailureWindowStorage


class PybreakerState:
    """Takes outcomes, and says in which state they lead. `now` is monotonic, in seconds."""

    def __init__(self, plan: BreakerPlan, now: Callable[[], float]) -> None:
        self._now = now
        self._storage = FailureWindowStorage(plan, now)
        self._breaker = pybreaker.CircuitBreaker(
            self._storage.fail_max,
            plan.reset_timeout_s,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """CLOSED, OPEN or HALF_OPEN of `gateway.records.breaker_state`."""
        return self._storage.state

    def succeed(self) -> None:
        """A batch was answered."""
        self._breaker.call(_succeed)

    def fail(self) -> None:
        """A batch failed."""
        try:  # noqa: SIM105  # contextlib.suppress costs 0.6 us
            self._breaker.call(_fail)
        except _Failed:
            pass

    def open(self) -> None:
        """Opens, whatever the outcomes are."""
        self._breaker.open()

    def half_open(self) -> None:
        """The next outcome decides."""
        self._breaker.half_open()

    def close(self) -> None:
        """Closes, whatever the outcomes are."""
        self._breaker.close()

    def clear(self) -> None:
        """Forgets all outcomes."""
        self._storage.clear()

    def counts(self) -> tuple[int, int, int]:
        """Failures in a row; batches and failures in the window."""
        window = self._storage.window
        window.slide(self._now())
        return self._storage.consecutive, window.outcomes, window.failures

    def reason(self) -> str:
        """Why it opened, for people; asked right after that."""
        return self._storage.reason()

    def __repr__(self) -> str:
        return f"<PybreakerState {self.state}, {self._storage.consecutive} failures in a row>"


class _Failed(Exception):
    """How a failure is reported to pybreaker.

    The error itself must not pass through its frames, or its traceback would keep them.
    """


def _succeed() -> None:
    """What pybreaker calls to learn of a success."""


def _fail() -> NoReturn:
    """What pybreaker calls to learn of a failure."""
    raise _Failed
