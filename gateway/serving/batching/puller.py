"""Takes the next batch from the queue as soon as an instance can run it, and has it run.

The shell around three decisions: the queue says who goes, `retry` what becomes of a batch that
failed, the dispatcher settles. Everything runs on the serving process's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from functools import partial
from typing import Final

from gateway.core.errors import CircuitBreakerOpen, GatewayError
from gateway.core.instance import Runner
from gateway.core.plan import VersionPlan
from gateway.serving.batching.batch import Batch
from gateway.serving.batching.deadline_admission import DeadlineAdmission
from gateway.serving.batching.deadline_timer import DeadlineTimer
from gateway.serving.batching.dispatcher import Dispatcher
from gateway.serving.batching.loop_time import LoopTime
from gateway.serving.batching.queue import BatchQueue
from gateway.serving.batching.queue_decision import Decision
from gateway.serving.batching.queued_request import QueuedRequest
from gateway.serving.batching.retry import Parts
from gateway.serving.batching.slots import Instances, Slot

_log = logging.getLogger(__name__)

_TURN_NS: Final = 1_000_000  # runs on the loop before everything else gets its turn


class Puller:
    """Gives the waiting requests of one version to free instances.

    A request that it takes from the queue is answered, or waits again: what is raised on the way
    fails those that were taken. `runner` runs small batches on the loop itself, where the plan
    says so.
    """

    def __init__(
        self,
        plan: VersionPlan,
        queue: BatchQueue,
        admission: DeadlineAdmission,
        timer: DeadlineTimer,
        dispatcher: Dispatcher,
        instances: Instances,
        runner: Runner | None,
    ) -> None:
        self._plan = plan
        self._queue = queue
        self._admission = admission
        self._timer = timer
        self._dispatcher = dispatcher
        self._instances = instances
        self._runner = runner
        loop_rows = plan.batching.loop_batch_size if runner is not None else 0
        self.loop_time = LoopTime(plan.model, plan.version, loop_rows)
        self.running = 0
        """Batches that run on instances."""
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._pull_due = False
        self._delayed: asyncio.TimerHandle | None = None

    def pull_soon(self) -> None:
        """Pulls in the next turn of the loop: who comes in this one goes together."""
        if not self._pull_due:
            self._pull_due = True
            self._loop.call_soon(self._pull)

    def _pull(self) -> None:
        """Takes batches while there is who runs them. Each time round there are five cases.

        | who waits | what is done |
        |---|---|
        | nobody | that was all |
        | a batch that may run on the loop | it runs, until the turn is over; the rest pulls soon |
        | a batch, and no slot is free | an instance that frees one pulls; without any instance, all
        are failed |
        | a batch that is to wait for company | the slot is given back, and a timer pulls |
        | a batch, and a slot is free | it runs there, and its end pulls |
        """
        self._pull_due = False
        queue = self._queue
        turn_ends = 0
        try:
            while queue.count:
                slot = None
                if not self._fits_loop() and (slot := self._acquire()) is None:
                    return
                decision = self._next_batch(slot)
                if not decision.batch:
                    self._wait(decision, slot)
                    return
                if slot is not None:
                    self._run_there(decision.batch, decision.rows, slot)
                    continue
                self._run_here(decision.batch, decision.rows)
                now_ns = time.monotonic_ns()
                turn_ends = turn_ends or now_ns + _TURN_NS
                if now_ns > turn_ends:
                    break
            if queue.count:
                self.pull_soon()
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits
            self._give_up(error)

    def _fits_loop(self) -> bool:
        return self.loop_time.takes(self._queue.next_rows())

    def _acquire(self) -> Slot | None:
        """A slot; without one, somebody will pull again, or nobody waits any more."""
        slot = self._instances.acquire(self._pull)
        if slot is None and (why := self._instances.unreachable()):
            self._fail_waiting(
                CircuitBreakerOpen(
                    f"no instance can run '{self._plan.model}' version {self._plan.version}: {why}"
                )
            )
        return slot

    def _next_batch(self, slot: Slot | None) -> Decision:
        """The next batch, without those whose answers would come too late; these are failed."""
        now = self._now()
        try:
            decision = self._queue.next_batch(now, self._admission.answered_at(now, self.running))
        except Exception:
            if slot is not None:
                self._instances.release(slot)
            raise
        if decision.expired:
            self._timer.expire(decision.expired)
        return decision

    def _wait(self, decision: Decision, slot: Slot | None) -> None:
        if slot is not None:
            self._instances.release(slot)
        if decision.wait_s is not None and self._delayed is None:
            self._delayed = self._loop.call_later(decision.wait_s, self._delay_over)

    def _delay_over(self) -> None:
        self._delayed = None
        self._pull()

    def _run_here(self, entries: list[QueuedRequest], rows: int) -> None:
        """Runs a batch on the event loop; afterwards its requests are settled, or wait again."""
        runner = self._runner
        assert runner is not None
        try:
            batch = self._dispatcher.start(entries, rows, "")
            before_ns = time.thread_time_ns()
            batch.run(runner)
            ran_ns = time.thread_time_ns() - before_ns
            parts = self._dispatcher.finish(batch, entries)
        except Exception as error:  # noqa: BLE001  # it is logged there
            self._dispatcher.abandon(entries, error)
            return
        if parts:
            self._queue_again(parts)
        self.loop_time.ran(ran_ns)

    def _run_there(self, entries: list[QueuedRequest], rows: int, slot: Slot) -> None:
        """Has a batch run on an instance; `_ran_there` is the end, or the except clause here."""
        self.running += 1
        try:
            batch = self._dispatcher.start(entries, rows, slot.name)
            slot.run(batch, partial(self._ran_there, batch, entries, rows))
        except Exception as error:  # noqa: BLE001  # it is logged there
            self.running -= 1
            self._dispatcher.abandon(entries, error)
            self._instances.release(slot)

    def _ran_there(self, batch: Batch, entries: list[QueuedRequest], rows: int) -> None:
        self.running -= 1
        try:
            if not batch.run_ns:
                batch.fail(RuntimeError("its run ended with neither outputs nor an error"))
            ran_s = batch.elapsed_s if batch.error is None else 0.0
            self._admission.ran(rows, ran_s, self._now())
            self._pull()  # an instance is free: let it run while answers are sent
            parts = self._dispatcher.finish(batch, entries)
        except Exception as error:  # noqa: BLE001  # it is logged there
            self._dispatcher.abandon(entries, error)
            return
        if parts:
            self._queue_again(parts)

    def _queue_again(self, parts: Parts) -> None:
        """They wait once more, where they stood."""
        for part in parts:
            for entry in part:
                self._queue.add_again(entry)
                if entry.deadline != math.inf:
                    self._timer.watch(entry.deadline)
        self.pull_soon()

    def _give_up(self, error: Exception) -> None:
        """Something of ours raised, and would at every pull: nobody is left to wait for it."""
        _log.error("%r could not take a batch. This is a bug.", self, exc_info=error)
        self._fail_waiting(
            GatewayError(
                f"'{self._plan.model}' version {self._plan.version} could not take a batch: "
                f"{type(error).__name__}: {error}"
            )
        )

    def _fail_waiting(self, error: GatewayError) -> None:
        """All that wait are failed: no instance will come."""
        for entry in self._queue.clear():
            # one of its own for each: a traceback is written into what is raised
            entry.fail(type(error)(str(error)))

    def __repr__(self) -> str:
        return f"<Puller {self._plan.model} {self._plan.version}: {self.running} running>"
