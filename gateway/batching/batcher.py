"""Requests wait here until a worker is free; then whoever waits goes together.

Pull, not push: first the free worker, then the batch, so it is as large as the load made it and nobody waits for a timer (`max_queue_delay`
is for models where a fuller batch pays). This is the asyncio shell: `window` decides who goes, `batch` is what goes.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from gateway.batching.batch import Batch, Runner
from gateway.batching.split import Part
from gateway.batching.window import Entry, Window
from gateway.core.errors import DeadlineExpired, GatewayError, ModelFailed, Overloaded
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction
from gateway.core.waiter import Waiter

_log = logging.getLogger(__name__)

_OVERSTAY_NS: Final = 250_000  # CPU time of a run on the loop that is too long: five times the 50 us by which it was let on
_OVERSTAYS: Final = 20  # so many times that long in all, and a version goes to threads for good: one run of 5 ms, or a few long ones
_FORGIVEN: Final = 0.01  # what a run of the right length takes off: page faults and the collector make a long one now and then
_TURN_NS: Final = 1_000_000  # runs on the loop before everything else gets its turn


class Workers(Protocol):
    """Threads shared by all versions."""

    def acquire(self, ready: Callable[[], None]) -> bool:
        """Takes a free worker; without one, remembers to call `ready` once, on the loop, when one is free (it is not held then)."""
        ...

    def release(self) -> None:
        """Gives an acquired worker back unused."""
        ...

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Runs the job on the worker acquired before, gives the worker back, and calls `done` on the loop."""
        ...


class Statistics(Protocol):
    """What is counted of a version's batches."""

    def record_batch(
        self,
        *,
        requests: int,
        rows: int,
        queue_ns: int,
        compute_input_ns: int,
        compute_infer_ns: int,
        compute_output_ns: int,
        success_ns: int,
        now_ms: int,
    ) -> None:
        """One batch that succeeded. `queue_ns` and `success_ns` are sums over its requests, the compute times are the batch's."""
        ...


class Waiting(Waiter[Prediction]):
    """A request that waits for its prediction: the one record of it here."""

    __slots__ = ("_batcher", "arrived", "deadline", "key", "level", "order", "request", "rows", "taken")

    def __init__(self, batcher: Batcher, request: InferenceRequest, level: int, deadline: float) -> None:
        self.settled = self.taken = False
        self._error = self._driver = self._callbacks = None
        self._batcher, self.request, self.level, self.deadline = batcher, request, level, deadline
        self.key, self.rows, self.arrived, self.order = request.form.key, request.form.rows, request.arrived, 0

    def cancel(self, msg: str | None = None) -> bool:
        """The caller has gone: it is left out of the batch to come."""
        if self.settled:
            return False
        self._batcher.left(self)
        return Waiter.cancel(self, msg)


class Batcher:
    """A Predictor that waits for company, and runs batches of one version."""

    def __init__(self, plan: VersionPlan, runner: Runner, workers: Workers, statistics: Statistics) -> None:
        self._plan, self._queue, self._batching = plan, plan.queue, plan.batching
        self._runner, self._workers, self._statistics = runner, workers, statistics
        self._window = Window(plan.batching)
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._waiting_bytes = self._running = 0
        self._overstays = 0.0
        self._pull_due = self._worker_due = False
        self._loop_rows = plan.batching.loop_batch_size
        self._axis = plan.batching.max_batch_size > 0
        self._timer: asyncio.TimerHandle | None = None
        self._delayed: asyncio.TimerHandle | None = None
        self._plain = not (plan.queue.priority_levels or plan.queue.default_timeout_s)

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The prediction; raises Overloaded, DeadlineExpired, ModelFailed."""
        form = request.form
        if self._plain and not form.timeout_s:
            waiting = Waiting(self, request, 0, request.deadline)
        else:
            waiting = Waiting(self, request, self._level(form.priority), self._deadline(request))
        window = self._window
        if window.count >= self._queue.max_requests or (self._waiting_bytes + form.input_bytes > self._queue.max_bytes and window.count):
            raise Overloaded(self._full_text())
        self._wait(waiting)
        if waiting.deadline != math.inf:
            self._watch_deadline(waiting.deadline)
        return await waiting

    def _wait(self, waiting: Waiting) -> None:
        self._window.add(waiting)
        self._waiting_bytes += waiting.request.form.input_bytes
        if not self._pull_due:
            self._pull_due = True
            self._loop.call_soon(self._pull)

    def describe(self) -> Description:
        """Where requests become batches."""
        b = self._batching
        return Description("Batcher", b.reason or ("one by one" if not b.max_batch_size else f"up to {b.useful_batch_size} rows"))

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

    def _level(self, priority: int) -> int:
        levels = self._queue.priority_levels
        if not levels:
            return 0
        return min(priority or self._queue.default_priority or levels, levels)

    def _deadline(self, request: InferenceRequest) -> float:
        limit = self._queue.default_timeout_s
        asked = request.form.timeout_s if self._queue.allow_timeout_override else 0.0
        if asked and (not limit or asked < limit):
            limit = asked
        return min(request.deadline, request.arrived + limit) if limit else request.deadline

    def _full_text(self) -> str:
        return (
            f"Exceeds maximum queue size: {self._window.count} requests ({self._waiting_bytes} bytes) wait for '{self._plan.model}' version "
            f"{self._plan.version}, {self._queue.max_requests} requests and {self._queue.max_bytes} bytes may"
        )

    def _pull(self) -> None:
        """Takes batches while there is who runs them."""
        self._pull_due = False
        window, turn_ends = self._window, 0
        while window.count:
            on_loop = window.next_rows() <= self._loop_rows
            if not on_loop and not self._acquire():
                return
            decision = window.take(self._now())
            if decision.expired:
                self._expire(decision.expired)
            if not decision.batch:
                if not on_loop:
                    self._workers.release()
                if decision.wait_s is not None and self._delayed is None:
                    self._delayed = self._loop.call_later(decision.wait_s, self._delay_over)
                return
            self._go(decision.batch, decision.rows, on_loop=on_loop)
            if on_loop:
                now_ns = time.monotonic_ns()
                turn_ends = turn_ends or now_ns + _TURN_NS
                if now_ns > turn_ends:
                    break
        if window.count and not self._pull_due:
            self._pull_due = True
            self._loop.call_soon(self._pull)

    def _acquire(self) -> bool:
        """A worker to run a batch on, within this version's instances; without one, somebody will call `_pull` again."""
        if self._running >= self._plan.instances or self._worker_due:
            return False
        if self._workers.acquire(self._worker_free):
            return True
        self._worker_due = True
        return False

    def _delay_over(self) -> None:
        self._delayed = None
        self._pull()

    def _worker_free(self) -> None:
        self._worker_due = False
        self._pull()

    def _go(self, entries: list[Entry], rows: int, *, on_loop: bool) -> None:
        waiting: list[Waiting] = entries  # type: ignore[assignment]
        for entry in waiting:
            entry.taken = True
            self._waiting_bytes -= entry.request.form.input_bytes
        batch = Batch([entry.request for entry in waiting], rows if self._axis else -1, self._batching.pad_to)
        if on_loop:
            before_ns = time.thread_time_ns()
            batch.run(self._runner)
            self._judge(time.thread_time_ns() - before_ns)
            self._settle(waiting, batch)
        else:
            self._running += 1
            self._workers.run(lambda: batch.run(self._runner), lambda: self._ran(waiting, batch))

    def _judge(self, ran_ns: int) -> None:
        """A version whose runs are not as short as they were measured goes to threads for good."""
        if ran_ns > _OVERSTAY_NS:
            self._overstays += ran_ns / _OVERSTAY_NS
            if self._overstays > _OVERSTAYS:
                _log.info("%s version %d held the event loop for %.1f ms: it runs in threads from here on", *self._plan.key, ran_ns / 1e6)
                self._loop_rows = 0
        elif self._overstays:
            self._overstays = max(0.0, self._overstays - _FORGIVEN)

    def _ran(self, waiting: list[Waiting], batch: Batch) -> None:
        self._running -= 1
        self._pull()  # the worker is free: let it run while answers are sent
        self._settle(waiting, batch)

    def _settle(self, waiting: list[Waiting], batch: Batch) -> None:
        if batch.error is not None:
            if len(waiting) > 1:
                self._tell_apart(waiting, batch.error)
            else:
                self._fail(waiting[0], batch.error)
            return
        predictions = batch.predictions()
        self._count(waiting, batch)
        for entry, prediction in zip(waiting, predictions, strict=True):
            entry.settle(prediction)

    def _count(self, waiting: list[Waiting], batch: Batch) -> None:
        now_ns, n = time.monotonic_ns(), len(waiting)
        arrived_ns = int(sum([entry.arrived for entry in waiting]) * 1e9)
        if n == 1 and type(waiting[0].request) is Part:  # it fills a run by itself; rows and the run count, the request when its last part does
            n = arrived_ns = 0
        self._statistics.record_batch(
            requests=n,
            rows=max(batch.rows, 1),
            queue_ns=max(0, n * batch.started_ns - arrived_ns),
            compute_input_ns=batch.collated_ns - batch.started_ns,
            compute_infer_ns=batch.run_ns - batch.collated_ns,
            compute_output_ns=now_ns - batch.run_ns,
            success_ns=max(0, n * now_ns - arrived_ns),
            now_ms=int(time.time() * 1000),
        )

    def _tell_apart(self, waiting: list[Waiting], error: Exception) -> None:
        """One request's values may have failed the batch: each waits again, in a line of its own, and what fails alone is at fault itself."""
        _log.info("a batch of %d requests for %s version %d failed and is run one by one: %s", len(waiting), *self._plan.key, error)
        for entry in waiting:
            if not entry.settled:
                entry.taken, entry.key = False, (id(entry),)
                self._wait(entry)

    def _fail(self, entry: Waiting, error: Exception) -> None:
        if isinstance(error, GatewayError):
            entry.fail(error)
        else:
            entry.fail(ModelFailed(f"'{self._plan.model}' version {self._plan.version} failed: {type(error).__name__}: {error}"))

    def _expire(self, entries: list[Any]) -> None:
        for entry in entries:
            entry.taken = True
            self._waiting_bytes -= entry.request.form.input_bytes
            entry.fail(DeadlineExpired(f"Request timeout expired while it waited for '{self._plan.model}' version {self._plan.version}"))

    def _watch_deadline(self, deadline: float) -> None:
        """Expired requests are answered even while no worker is free: one timer for the earliest deadline."""
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
        return f"<Batcher {self._plan.model} {self._plan.version}: {self._window.count} waiting, {self._running} running>"
