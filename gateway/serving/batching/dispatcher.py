"""From a batch that was taken to its requests' answers.

Run, counted, told to the breaker, and run again in parts where that may help.

A batch that fails for a reason that may be one request's is bisected: halves, until the guilty
request fails alone with its own message and all others are answered. A batch whose instance was
lost under it is run once more, also in halves: if a request of it is what takes processes down, it
takes half as many with it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.core.errors import DeadlineExpired, GatewayError, InstanceFailed, ModelFailed
from gateway.core.instance import Work
from gateway.core.outcome import Ears, Outcome
from gateway.core.plan import VersionPlan
from gateway.core.request import InferenceRequest
from gateway.serving.batching.batch import Batch, Runner
from gateway.serving.batching.bisection import Origin
from gateway.serving.batching.queued_request import Waiting
from gateway.serving.batching.splitter import Part

_log = logging.getLogger(__name__)
_OWN: Final = itertools.count()


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
        """One batch that succeeded.

        `queue_ns` and `success_ns` are sums over its requests, the compute times are the batch's.
        """
        ...

    def record_bytes(self, input_bytes: int, output_bytes: int) -> None:
        """The tensors of a batch's requests and of their answers."""
        ...


class Witness(Protocol):
    """Writes down what was run."""

    def begun(self, batch: Batch) -> None:
        """A batch begins to run: it may be given its number."""
        ...

    def ended(self, batch: Batch, instance: str) -> None:
        """A batch has its answers, or failed.

        `instance`: who ran it; empty: threads of this process.
        """
        ...

    def retried(self, requests: Sequence[InferenceRequest], error: Exception) -> None:
        """Their batch failed, with this, and they are run again."""
        ...


class Seat(Protocol):
    """A place on an instance, taken for one batch."""

    @property
    def name(self) -> str:
        """The instance's name; empty: threads of this process."""
        ...

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work, gives the place back, and calls `done` on the loop."""
        ...


class Retries(Protocol):
    """How many batches may be run again because instances failed under them."""

    def deposit(self) -> None:
        """A batch was run for the first time."""
        ...

    def withdraw(self) -> bool:
        """One may be run again now."""
        ...


class Dispatch:
    """Runs the batches of one version and settles their requests.

    `again` lets requests wait once more, in lines of their own.
    """

    def __init__(
        self,
        plan: VersionPlan,
        statistics: Statistics,
        ears: Ears,
        retries: Retries,
        again: Callable[[Sequence[Waiting]], None],
        witness: Witness | None = None,
    ) -> None:
        self._plan = plan
        self._statistics = statistics
        self._ears = ears
        self._retries = retries
        self._again = again
        self._has_axis = plan.batching.max_batch_size > 0
        self._pad_to = plan.batching.pad_to
        self._runs = plan.protection.retry.attempts
        self._witness = witness

    def run_here(self, entries: list[Waiting], rows: int, runner: Runner) -> int:
        """Runs a batch on the event loop; returns the CPU time of the run in nanoseconds."""
        batch = self._batch(entries, rows)
        generation = self._ears.begin()
        before_ns = time.thread_time_ns()
        batch.run(runner)
        ran_ns = time.thread_time_ns() - before_ns
        self._settle(entries, batch, generation, "")
        return ran_ns

    def run_there(
        self, entries: list[Waiting], rows: int, seat: Seat, ran: Callable[[int, float], None]
    ) -> None:
        """Runs a batch on an instance.

        Calls `ran` with its rows and seconds (0: it failed) before its requests are settled.
        """
        batch = self._batch(entries, rows)
        generation = self._ears.begin()
        self._retries.deposit()

        def done() -> None:
            ran(rows, batch.run_s if batch.error is None else 0.0)
            self._settle(entries, batch, generation, seat.name)

        seat.run(batch, done)

    def _batch(self, entries: list[Waiting], rows: int) -> Batch:
        batch = Batch(
            [entry.request for entry in entries], rows if self._has_axis else -1, self._pad_to
        )
        if self._witness is not None:
            self._witness.begun(batch)
        return batch

    def _settle(self, entries: list[Waiting], batch: Batch, generation: int, instance: str) -> None:
        if batch.error is not None:
            if self._witness is not None:
                self._witness.ended(batch, instance)
            self._failed(entries, batch, batch.error, generation)
            return
        predictions = batch.predictions()
        self._count(entries, batch)
        if self._witness is not None:
            self._witness.ended(batch, instance)
        origin = entries[0].origin
        if origin is None:
            self._ears.end(generation, Outcome.SUCCESS, batch.run_s, None)
        else:
            origin.part_answered(batch.run_s)
        for entry, prediction in zip(entries, predictions, strict=True):
            entry.settle(prediction)

    def _failed(
        self, entries: list[Waiting], batch: Batch, error: Exception, generation: int
    ) -> None:
        if isinstance(error, DeadlineExpired):  # whoever ran it was not given the time
            self._ears.end(generation, Outcome.NEUTRAL, batch.run_s, error)
            self._fail(entries, error)
            return
        alive = [entry for entry in entries if not entry.settled]
        if not alive:  # and whose values it was cannot be found out any more
            return
        origin = entries[0].origin or Origin(self._ears, generation)
        if self._may_run_again(batch, error, origin):
            self._run_again(alive, origin, error)
        else:
            origin.part_failed(error, batch.run_s)
            self._fail(entries, error)

    def _may_run_again(self, batch: Batch, error: Exception, origin: Origin) -> bool:
        if not isinstance(error, InstanceFailed):
            return not batch.alone
        if origin.runs >= self._runs or not self._retries.withdraw():
            return False
        origin.runs += 1
        return True

    def _run_again(self, entries: list[Waiting], origin: Origin, error: Exception) -> None:
        middle = (len(entries) + 1) // 2
        parts = [part for part in (entries[:middle], entries[middle:]) if part]
        again = "in parts" if len(parts) > 1 else "as it is"
        _log.info(
            "a batch of %d requests for '%s' version %d failed and is run again %s: %s",
            len(entries),
            *self._plan.key,
            again,
            error,
        )
        origin.divide(len(parts))
        if self._witness is not None:
            self._witness.retried([entry.request for entry in entries], error)
        for part in parts:
            key = (next(_OWN),)
            for entry in part:
                entry.key = key
                entry.origin = origin
                entry.taken = False
            self._again(part)

    def _fail(self, entries: list[Waiting], error: Exception) -> None:
        kind = type(error) if isinstance(error, GatewayError) else ModelFailed
        text = str(error)
        if not isinstance(error, GatewayError):
            text = (
                f"'{self._plan.model}' version {self._plan.version} failed: "
                f"{type(error).__name__}: {error}"
            )
        for entry in entries:
            # one of its own for each: a traceback is written into what is raised
            entry.fail(kind(text))

    def _count(self, entries: list[Waiting], batch: Batch) -> None:
        now_ns = time.monotonic_ns()
        n = len(entries)
        arrived_ns = int(sum([entry.arrived for entry in entries]) * 1e9)
        # it fills a run by itself; rows and the run count, the request when its last part does
        if n == 1 and type(entries[0].request) is Part:
            n = 0
            arrived_ns = 0
        self._statistics.record_batch(
            requests=n,
            rows=max(batch.request_rows, 1),
            queue_ns=max(0, n * batch.started_ns - arrived_ns),
            compute_input_ns=batch.collated_ns - batch.started_ns,
            compute_infer_ns=batch.run_ns - batch.collated_ns,
            compute_output_ns=now_ns - batch.run_ns,
            success_ns=max(0, n * now_ns - arrived_ns),
            now_ms=int(time.time() * 1000),
        )
        self._statistics.record_bytes(
            batch.input_bytes, sum([array.nbytes for array in batch.outputs])
        )

    def __repr__(self) -> str:
        return f"<Dispatch {self._plan.model} {self._plan.version}>"
