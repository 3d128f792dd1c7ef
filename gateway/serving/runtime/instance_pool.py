"""Lends the instances of one version to its batches, in a serving process.

An instance is chosen by when it is expected to be done; one whose circuit breaker is open is not
used.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.core.errors import DeadlineExpired, InstanceFailed
from gateway.core.instance import Instance, Work
from gateway.core.outcome import Outcome
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker

_log = logging.getLogger(__name__)

_SUSPECT_S: Final = 1.0  # how long another instance is preferred after one has lost a batch
_MAY_COME_BACK_S: Final = 2.0  # a worker process that died is back in half a second
_POLL_S: Final = 1.0  # an operator may take back what was forced
_SMOOTHING: Final = 0.2  # weight of the newest run in the time an instance is expected to take


class Once:
    """A function that is called the first time only; `called`: it was."""

    __slots__ = ("_function", "called")

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self.called = False

    def __call__(self) -> None:
        """Calls it, unless that was done before."""
        if not self.called:
            self.called = True
            self._function()


class Slot:
    """One instance with its circuit breaker, and what it has to do."""

    def __init__(self, instance: Instance, gate: CircuitBreaker, now: Callable[[], float]) -> None:
        self.instance = instance
        self.gate = gate
        self._now = now
        self.outstanding = 0
        self.expected_s = 0.0
        """How long its runs take, smoothed; 0: not known yet."""
        self.suspect_until = 0.0
        self.down_since: float | None = None if instance.available else now()
        self.freed: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        """The name of the instance."""
        return self.instance.name

    def refresh(self) -> None:
        """Notes when the instance went down."""
        if self.instance.available:
            self.down_since = None
        elif self.down_since is None:
            self.down_since = self._now()

    @property
    def load(self) -> float:
        """When one batch more would be done, roughly."""
        return (self.outstanding + 1) * (max(self.expected_s, self.instance.expected_s) or 1e-6)

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work (see `Instance.run`); the place is given back before `done` is called."""
        ticket = self.gate.admit()
        if ticket is None:  # it opened, or another has the probe, since the place was taken
            self._refuse(work, done)
            return
        generation = self.gate.begin()
        began = self._now()

        def over() -> None:
            try:
                self._record_outcome(generation, work, self._now() - began)
                self.gate.release(ticket)
            finally:
                self._over(done)

        end = Once(over)
        try:
            self.instance.run(work, end)
        except Exception as error:  # noqa: BLE001  # the batch must come to an end
            _log.exception("%s raised instead of failing a batch. This is a bug.", self.name)
            if not end.called:
                work.fail(InstanceFailed(f"{self.name} raised {type(error).__name__}: {error}"))
                asyncio.get_running_loop().call_soon(end)

    def _refuse(self, work: Work, done: Callable[[], None]) -> None:
        why = f"{self.instance.name} is not used {_until(self.gate.retry_in_s)}"
        work.fail(InstanceFailed(why))
        asyncio.get_running_loop().call_soon(self._over, done)

    def _over(self, done: Callable[[], None]) -> None:
        self.outstanding -= 1
        done()
        self.freed()

    def _record_outcome(self, generation: int, work: Work, elapsed_s: float) -> None:
        error = work.error
        if error is None:
            self.expected_s += (elapsed_s - self.expected_s) * (
                _SMOOTHING if self.expected_s else 1.0
            )
            outcome = Outcome.SUCCESS
        elif isinstance(error, InstanceFailed):
            self.suspect_until = self._now() + _SUSPECT_S
            outcome = Outcome.FAILURE
        elif isinstance(error, DeadlineExpired) or not work.alone:
            # in company, one request's values may be what failed
            outcome = Outcome.NEUTRAL
        else:
            outcome = Outcome.FAILURE
        self.gate.end(generation, outcome, elapsed_s, error)

    def __repr__(self) -> str:
        return (
            f"<Slot {self.instance.name}: {self.outstanding} of {self.instance.capacity}, "
            f"{'up' if self.instance.available else 'down'}>"
        )


class InstancePool:
    """The instances of one version (`gateway.serving.batching.slots.Instances`)."""

    def __init__(
        self,
        instances: Sequence[tuple[Instance, CircuitBreaker]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self.slots = tuple(Slot(instance, gate, now) for instance, gate in instances)
        self.max_concurrency = sum(slot.instance.capacity for slot in self.slots)
        self._ready: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        for slot in self.slots:
            slot.freed = self._changed
            slot.instance.watch(self._instance_changed)

    def unreachable(self) -> str:
        """Why no instance can be expected to run a batch; empty where one can.

        One that has just gone down may be back before long.
        """
        latest = self._now() - _MAY_COME_BACK_S
        reasons = []
        for slot in self.slots:
            if slot.down_since is not None and slot.down_since <= latest:
                reasons.append(f"{slot.instance.name} is down")
            elif not slot.gate.admits:
                reasons.append(
                    f"the breaker of {slot.instance.name} is open {_until(slot.gate.retry_in_s)}"
                )
            else:
                return ""
        return "; ".join(reasons)

    def acquire(self, ready: Callable[[], None]) -> Slot | None:
        """Takes a place on the instance that is expected to be done first.

        Where none is free it returns None, and calls `ready` when that has changed.
        """
        able = [slot for slot in self.slots if slot.instance.available and slot.gate.admits]
        now = self._now()
        trusted = [slot for slot in able if slot.suspect_until <= now] or able
        free = [slot for slot in trusted if slot.outstanding < slot.instance.capacity]
        if free:
            slot = min(free, key=_load)
            slot.outstanding += 1
            return slot
        self._ready = ready
        if not able:
            self._poll_again()
        return None

    def release(self, slot: Slot) -> None:
        """Gives a place back unused."""
        slot.outstanding -= 1

    def _poll_again(self) -> None:
        """Sets a timer after which `ready` is called again.

        Nobody tells the pool when a breaker lets the next batch try, or when an instance has been
        down for too long.
        """
        waits = [
            slot.gate.retry_in_s
            for slot in self.slots
            if slot.instance.available and not slot.gate.admits
        ]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(
                max(min([*waits, _POLL_S]), 0.01), self._timer_over
            )

    def _instance_changed(self) -> None:
        for slot in self.slots:
            slot.refresh()
        self._changed()

    def _timer_over(self) -> None:
        self._timer = None
        self._changed()

    def _changed(self) -> None:
        ready = self._ready
        self._ready = None
        if ready is not None:
            ready()

    def __repr__(self) -> str:
        return f"<InstancePool {', '.join(map(repr, self.slots))}>"


def _until(retry_in_s: float) -> str:
    return (
        "until an operator changes that"
        if math.isinf(retry_in_s)
        else f"for another {retry_in_s:.1f} s"
    )


def _load(slot: Slot) -> float:
    return slot.load
