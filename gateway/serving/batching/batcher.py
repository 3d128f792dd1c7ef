"""Requests wait here until somebody is free to run them; then whoever waits goes together.

Pull, not push: first the free instance, then the batch, so it is as large as the load made it and
nobody waits for a timer (`max_queue_delay` is for models where a fuller batch pays). This is the
asyncio shell: `window` decides who goes, `dispatch` sees them through.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from gateway.core.errors import CircuitOpen, DeadlineExpired, QueueFull
from gateway.core.outcome import Ears
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction
from gateway.serving.batching.batch import Runner
from gateway.serving.batching.deadline_admission import Punctuality
from gateway.serving.batching.dispatcher import Dispatch, Retries, Seat, Statistics, Witness
from gateway.serving.batching.fair_share import default_shares
from gateway.serving.batching.queue import Decision, Entry, Window
from gateway.serving.batching.queued_request import Waiting

_log = logging.getLogger(__name__)

# CPU time of a run on the loop that is too long: five times the 50 us by which it was let on
_OVERSTAY_NS: Final = 250_000
# so many times that long in all, and a version goes to threads for good: one
# run of 5 ms, or a few long ones
_OVERSTAYS: Final = 20
# what a run of the right length takes off: page faults and the
# collector make a long one now and then
_FORGIVEN: Final = 0.01
_TURN_NS: Final = 1_000_000  # runs on the loop before everything else gets its turn


class Instances(Protocol):
    """What can run batches of this version."""

    @property
    def lanes(self) -> int:
        """Batches that run at the same time, at most."""
        ...

    def acquire(self, ready: Callable[[], None]) -> Seat | None:
        """Takes a place for one batch.

        Without one, calls `ready` on the loop when asking again may help (nothing is held then).
        """
        ...

    def unreachable(self) -> str:
        """Why nobody is left who could run a batch; empty where somebody is."""
        ...

    def release(self, seat: Any) -> None:
        """Gives a place that it lent back unused."""
        ...


class Batcher:
    """A Predictor that waits for company, and runs batches of one version.

    `runner`: what small batches are run with on the event loop itself, where the plan says so.
    """

    def __init__(
        self,
        plan: VersionPlan,
        instances: Instances,
        statistics: Statistics,
        *,
        ears: Ears,
        retries: Retries,
        runner: Runner | None = None,
        witness: Witness | None = None,
    ) -> None:
        self._plan = plan
        self._queue = plan.queue
        self._batching = plan.batching
        self._instances = instances
        self._runner = runner
        self._dispatch = Dispatch(plan, statistics, ears, retries, self._again, witness)
        levels = plan.queue.priority_levels
        admission = plan.protection.admission
        self._window = Window(
            plan.batching, (admission.priority_shares or default_shares(levels)) if levels else ()
        )
        self._punctuality = Punctuality(plan, self._window, instances.lanes)
        self._default_deadline_s = admission.default_deadline_s
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._waiting_bytes = 0
        self._running = 0
        self._overstays = 0.0
        self._pull_due = False
        self._loop_rows = plan.batching.loop_batch_size if runner is not None else 0
        self._timer: asyncio.TimerHandle | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._plain = not (levels or plan.queue.default_timeout_s or self._default_deadline_s)

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The prediction; raises QueueFull, Overloaded, DeadlineExpired, ModelFailed.

        InstanceFailed.
        """
        form = request.form
        if self._plain and not form.timeout_s:
            waiting = Waiting(self, request, 0, request.deadline)
        else:
            waiting = Waiting(self, request, self._level(form.priority), self._deadline(request))
        window = self._window
        if window.count >= self._queue.max_requests or (
            self._waiting_bytes + form.input_bytes > self._queue.max_bytes and window.count
        ):
            raise QueueFull(self._full_text())
        if waiting.deadline != math.inf:
            self._punctuality.require(waiting, self._running, self._now())
            self._watch_deadline(waiting.deadline)
        window.add(waiting)
        self._waiting_bytes += form.input_bytes
        self._pull_soon()
        return await waiting

    def describe(self) -> Description:
        """Where requests become batches."""
        b = self._batching
        return Description(
            "Batcher",
            b.reason
            or ("one by one" if not b.max_batch_size else f"up to {b.useful_batch_size} rows"),
        )

    @property
    def load(self) -> tuple[int, int, int]:
        """Requests that wait, their bytes, and batches that run."""
        return self._window.count, self._waiting_bytes, self._running

    @property
    def idle(self) -> bool:
        """Nobody waits, nothing runs."""
        return not self._window.count and not self._running

    def left(self, waiting: Waiting) -> None:
        """A request's caller has gone."""
        if not waiting.taken:
            waiting.taken = True
            self._window.forget(waiting)
            self._waiting_bytes -= waiting.request.form.input_bytes

    def _again(self, entries: Sequence[Waiting]) -> None:
        """They wait once more, where they stood."""
        for entry in entries:
            self._window.add_again(entry)
            self._waiting_bytes += entry.request.form.input_bytes
            if entry.deadline != math.inf:
                self._watch_deadline(entry.deadline)
        self._pull_soon()

    def _level(self, priority: int) -> int:
        levels = self._queue.priority_levels
        if not levels:
            return 0
        return min(priority or self._queue.default_priority or levels, levels)

    def _deadline(self, request: InferenceRequest) -> float:
        deadline = request.deadline
        limit = self._queue.default_timeout_s
        if deadline == math.inf and self._default_deadline_s:
            deadline = request.arrived + self._default_deadline_s
        asked = request.form.timeout_s if self._queue.allow_timeout_override else 0.0
        if asked and (not limit or asked < limit):
            limit = asked
        return min(deadline, request.arrived + limit) if limit else deadline

    def _full_text(self) -> str:
        return (
            f"Exceeds maximum queue size: {self._window.count} requests ({self._waiting_bytes} "
            f"bytes) wait for '{self._plan.model}' version {self._plan.version}, "
            f"{self._queue.max_requests} requests and {self._queue.max_bytes} bytes may"
        )

    def _pull_soon(self) -> None:
        if not self._pull_due:
            self._pull_due = True
            self._loop.call_soon(self._pull)

    def _pull(self) -> None:
        """Takes batches while there is who runs them."""
        self._pull_due = False
        window = self._window
        turn_ends = 0
        while window.count:
            seat = None
            if window.next_rows() > self._loop_rows and (seat := self._acquire()) is None:
                return
            decision = self._take()
            if not decision.batch:
                if seat is not None:
                    self._instances.release(seat)
                if decision.wait_s is not None and self._delayed is None:
                    self._delayed = self._loop.call_later(decision.wait_s, self._delay_over)
                return
            self._go(decision.batch, decision.rows, seat)
            if seat is None:
                now_ns = time.monotonic_ns()
                turn_ends = turn_ends or now_ns + _TURN_NS
                if now_ns > turn_ends:
                    break
        if window.count:
            self._pull_soon()

    def _acquire(self) -> Seat | None:
        """A place on an instance.

        Without one, somebody will call `_pull` again, or nobody waits any more.
        """
        seat = self._instances.acquire(self._pull)
        if seat is None and (why := self._instances.unreachable()):
            self._give_up(why)
        return seat

    def _take(self) -> Decision:
        """The next batch, without those whose answers would come too late; they are told so."""
        now = self._now()
        decision = self._window.take(now, self._punctuality.answered_at(now, self._running))
        if decision.expired:
            self._expire(decision.expired)
        return decision

    def _delay_over(self) -> None:
        self._delayed = None
        self._pull()

    def _go(self, entries: list[Entry], rows: int, seat: Seat | None) -> None:
        waiting: list[Waiting] = entries  # type: ignore[assignment]
        for entry in waiting:
            entry.taken = True
            self._waiting_bytes -= entry.request.form.input_bytes
        if seat is None:
            assert self._runner is not None
            self._judge(self._dispatch.run_here(waiting, rows, self._runner))
        else:
            self._running += 1
            self._dispatch.run_there(waiting, rows, seat, self._ran)

    def _ran(self, rows: int, run_s: float) -> None:
        self._running -= 1
        self._punctuality.ran(rows, run_s, self._now())
        self._pull()  # an instance is free: let it run while answers are sent

    def _judge(self, ran_ns: int) -> None:
        """A version whose runs are not as short as they were measured goes to threads for good."""
        if ran_ns > _OVERSTAY_NS:
            self._overstays += ran_ns / _OVERSTAY_NS
            if self._overstays > _OVERSTAYS:
                _log.info(
                    "%s version %d held the event loop for %.1f ms: it "
                    "runs in threads from here on",
                    *self._plan.key,
                    ran_ns / 1e6,
                )
                self._loop_rows = 0
        elif self._overstays:
            self._overstays = max(0.0, self._overstays - _FORGIVEN)

    def _expire(self, entries: list[Any]) -> None:
        for entry in entries:
            entry.taken = True
            self._waiting_bytes -= entry.request.form.input_bytes
            entry.fail(
                DeadlineExpired(
                    f"Request timeout expired while it waited for '{self._plan.model}' "
                    f"version {self._plan.version}"
                )
            )

    def _give_up(self, why: str) -> None:
        """Whoever waits would wait for nobody."""
        for entry in self._window.clear():
            waiting: Waiting = entry  # type: ignore[assignment]
            waiting.taken = True
            self._waiting_bytes -= waiting.request.form.input_bytes
            waiting.fail(
                CircuitOpen(
                    f"nothing is left that could run '{self._plan.model}' version "
                    f"{self._plan.version}: {why}"
                )
            )

    def _watch_deadline(self, deadline: float) -> None:
        """Expired requests are answered even while no instance is free.

        One timer for the earliest deadline.
        """
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._deadline_passed)

    def _deadline_passed(self) -> None:
        self._timer = None
        self._expire(self._window.expire(self._now()))
        if (deadline := self._window.next_deadline()) != math.inf:
            self._watch_deadline(deadline)

    def __repr__(self) -> str:
        return (
            f"<Batcher {self._plan.model} {self._plan.version}: {self._window.count} "
            f"waiting, {self._running} running>"
        )
