"""A circuit breaker: whether a version, or an instance of it, is asked at all.

Each serving process has its own. This gate keeps the time, the single probe and the generation;
pybreaker keeps counts, thresholds and states (`pybreaker_state` says why they are apart).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

from gateway.core.batch_listener import BatchListener, BatchView
from gateway.core.outcome import Outcome
from gateway.core.protection import BreakerPlan
from gateway.records.breaker_state import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    BreakerKey,
    Forced,
    Snapshot,
    Transition,
)
from gateway.serving.policies.breaker.probe import PASS, Probe, Ticket
from gateway.serving.policies.breaker.pybreaker_state import PybreakerState

__all__ = ["PASS", "CircuitBreaker", "Forced", "Outcome", "Snapshot", "Ticket", "Transition"]

_log = logging.getLogger(__name__)

_LONGEST_ERROR: Final = 300  # characters of a failure's text that are kept; some are pages


class CircuitBreaker(BatchListener):
    """The gate before one version or instance.

    Hears what becomes of its batches, a version's as their listener. All on the event loop's
    thread.

    `closed`: everything passes; the only thing that is read for every request. `now` is monotonic.
    `on_event` is called with every transition. A circuit breaker that is not enabled stays closed,
    whatever fails; an operator can force it open all the same.
    """

    def __init__(
        self,
        name: str,
        plan: BreakerPlan,
        now: Callable[[], float],
        on_event: Callable[[Transition], None],
    ) -> None:
        self.name = name
        self._plan = plan
        self._now = now
        self._on_event = on_event
        self.key: BreakerKey = ("", 0, "")
        """What it guards, where it is set."""
        self._pybreaker = PybreakerState(plan, now)
        self._probe = Probe()
        self.closed = True
        self.state: str = CLOSED
        self.forced: Forced = ""
        self.why_open = ""
        """Why it opened the last time, with the text of the last failure; empty: it never did."""
        self._counts_outcomes = plan.enabled
        self._generation = 0
        self._retry_at = -math.inf
        self._opened = 0
        self._last_error = ""

    # Per request, and per batch for an instance.

    @property
    def admits(self) -> bool:
        """`admit` would give a ticket now."""
        if self.state == HALF_OPEN:
            return self._probe.is_free or (self._probe.abandoned and self._now() >= self._retry_at)
        return self.closed or self._now() >= self._retry_at

    def admit(self) -> Ticket | None:
        """Leave to ask, or None.

        The request that gets leave while it is half-open is the probe, and no other gets it until
        the probe is back.
        """
        if self.closed:
            return PASS
        if not self.admits:
            return None
        if self.state == OPEN:
            self._pybreaker.half_open()
            self._moved("one request is let through as a probe")
        self._retry_at = self._now() + self._plan.reset_timeout_s
        return self._probe.give()

    def release(self, ticket: object) -> None:
        """The request with this ticket has ended, in whatever way.

        The next may probe if nothing was learnt.

        While a batch that began half-open has not been reported, its outcome is waited for, at the
        longest for the reset timeout: a model that hangs gets one probe in that time, not one for
        each caller who gives up.
        """
        self._probe.abandon(ticket)

    # Per batch.

    def batch_started(self, batch: BatchView) -> None:
        """A batch of the version starts to run."""
        self._probe.trials += 1
        batch.generation = self._generation

    def batch_finished(self, batch: BatchView) -> None:
        """There are four cases: it taught one of the three outcomes, or that is not known (yet)."""
        outcome = batch.outcome
        if outcome is not None:
            self.end(batch.generation, outcome, batch.elapsed_s, batch.error)

    def begin(self) -> int:
        """The generation that a batch belongs to which starts to run now."""
        self._probe.trials += 1
        return self._generation

    def end(
        self, generation: int, outcome: Outcome, elapsed_s: float, error: Exception | None
    ) -> None:
        """What became of a batch; reported once, or never.

        Ignored if it began before the last transition, or while this was open.
        """
        if generation != self._generation:
            return
        self._probe.trials -= 1
        if not self._counts_outcomes:
            return
        if outcome is Outcome.SUCCESS and not 0 < self._plan.slow_call_s < elapsed_s:
            self._pybreaker.succeed()
        elif outcome is Outcome.NEUTRAL:
            self._probe.give_back()
        else:
            self._last_error = (
                _text(error)
                if outcome is Outcome.FAILURE
                else f"it took {elapsed_s:.3g} s, longer than {self._plan.slow_call_s:g} s"
            )
            self._pybreaker.fail()
        if self._pybreaker.state != self.state:
            self._moved(self._explanation())

    # For operators.

    def force(self, which: Forced) -> None:
        """Holds it open or closed; empty: lets it decide again, from closed and without a past.

        Nothing happens where it is so already.
        """
        if which == self.forced:
            return
        self.forced = which
        if which == "open":
            self._pybreaker.open()
        else:
            self._pybreaker.close()
        self._moved(
            f"an operator forced it {which}" if which else "an operator set it to automatic"
        )

    @property
    def retry_in_s(self) -> float:
        """Seconds until the next request is let through to try; 0 where one may go now or has gone.

        Infinity while forced open.
        """
        return max(0.0, self._retry_at - self._now()) if self.state == OPEN else 0.0

    def snapshot(self) -> Snapshot:
        """How it stands."""
        consecutive, batches, failures = self._pybreaker.counts()
        return Snapshot(
            self.name,
            self.state,
            self.forced,
            consecutive,
            batches,
            failures,
            self.retry_in_s,
            self._opened,
            _one_line(self._last_error),
        )

    def __repr__(self) -> str:
        retry = f", retrying in {self.retry_in_s:.1f} s" if self.state == OPEN else ""
        return (
            f"<CircuitBreaker {self.name} {self.state}{', forced' if self.forced else ''}{retry}>"
        )

    def _explanation(self) -> str:
        """Why pybreaker has moved by itself."""
        if self._pybreaker.state == CLOSED:
            return "the probe was answered"
        reason = "the probe failed" if self.state == HALF_OPEN else self._pybreaker.reason()
        return f"{reason}; last error: {_one_line(self._last_error)}"

    def _moved(self, reason: str) -> None:
        """Follows pybreaker into its state, and reports it."""
        old = self.state
        self.state = self._pybreaker.state
        self._generation += 1
        self._probe.reset()
        self.closed = self.state == CLOSED
        self._counts_outcomes = self._plan.enabled and not self.forced and self.state != OPEN
        at = self._now()
        if self.state == OPEN:
            self._opened += old != OPEN
            self.why_open = reason
            self._retry_at = math.inf if self.forced else at + self._plan.reset_timeout_s
        elif self.closed:
            self._pybreaker.clear()
        _log.log(
            logging.WARNING if self.state == OPEN else logging.INFO,
            "circuit breaker for model %s is %s: %s",
            self.name,
            self.state,
            reason,
        )
        if self.state != old:
            self._on_event(
                Transition(self.name, old, self.state, reason, at, self.retry_in_s, self.key)
            )


def _text(error: Exception | None) -> str:
    return (
        str(error)[:_LONGEST_ERROR] or type(error).__name__
        if error is not None
        else "no error was given"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
