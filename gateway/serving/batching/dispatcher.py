"""From a batch that was taken to its requests' answers: notifies, settles, in a serving process.

Between `start` and `finish` somebody runs the batch: the event loop, or a slot on an instance.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from gateway.core.batch_listener import BatchListener
from gateway.core.errors import GatewayError, ModelFailed
from gateway.core.outcome import Outcome
from gateway.core.plan import VersionPlan
from gateway.serving.batching.batch import Batch
from gateway.serving.batching.queued_request import QueuedRequest
from gateway.serving.batching.retry import Parts, Retry
from gateway.serving.policies.retry_budget import RetryBudget

_log = logging.getLogger(__name__)


class Dispatcher:
    """Sees the batches of one version through.

    A request that it is given is answered once, or returned to be queued again; a caller that has
    left meanwhile is left out of either.

    `listeners` are called in their order; one that raises is logged, and keeps nobody from an
    answer. `retries`: how many batches may be run again because instances failed under them.
    """

    def __init__(
        self, plan: VersionPlan, listeners: Sequence[BatchListener], retries: RetryBudget
    ) -> None:
        self._plan = plan
        self._batch_started = tuple(
            [each.batch_started for each in listeners if _implements(each, "batch_started")]
        )
        self._batch_finished = tuple(
            [each.batch_finished for each in listeners if _implements(each, "batch_finished")]
        )
        self._has_axis = plan.batching.max_batch_size > 0
        self._pad_to = plan.batching.pad_to
        self._retry = Retry(plan.protection.retry.attempts, retries)

    def start(self, entries: Sequence[QueuedRequest], rows: int, instance: str) -> Batch:
        """The batch of these requests, about to run on that instance (empty: in this process)."""
        batch = Batch(
            [entry.request for entry in entries],
            rows if self._has_axis else -1,
            self._pad_to,
            instance,
        )
        for batch_started in self._batch_started:
            try:
                batch_started(batch)
            except Exception:  # noqa: BLE001  # a listener keeps nobody from an answer
                _log.exception("%r raised. This is a bug.", batch_started)
        return batch

    def finish(self, batch: Batch, entries: Sequence[QueuedRequest]) -> Parts:
        """Settles the requests of a batch that has run; returns those to be queued again.

        There are three cases: it was answered; it failed, and parts of it are run again; it
        failed for good. First that is decided, then the listeners hear of it, then the callers.
        """
        if batch.error is not None:
            return self._repeat_or_fail(batch, entries, batch.error)
        try:
            predictions = batch.predictions()
        except Exception as error:  # noqa: BLE001  # the outputs are not what was asked for
            batch.fail(error)
            return self._repeat_or_fail(batch, entries, error)
        bisection = entries[0].bisection
        if bisection is None:
            batch.outcome = Outcome.SUCCESS
        else:
            bisection.part_answered(batch)
        self._notify_finished(batch)
        for entry, prediction in zip(entries, predictions, strict=True):
            entry.settle(prediction)
        return ()

    def _repeat_or_fail(
        self, batch: Batch, entries: Sequence[QueuedRequest], error: Exception
    ) -> Parts:
        parts = self._retry.parts(batch, entries)
        self._notify_finished(batch)
        if parts:
            self._log_retry(batch, len(parts))
        else:
            self._fail(entries, error)
        return parts

    def _notify_finished(self, batch: Batch) -> None:
        batch.ended_ns = time.monotonic_ns()
        for batch_finished in self._batch_finished:
            try:
                batch_finished(batch)
            except Exception:  # noqa: BLE001  # as above
                _log.exception("%r raised. This is a bug.", batch_finished)

    def abandon(self, entries: Iterable[QueuedRequest], error: Exception) -> None:
        """Something of ours raised while it had these requests: they are failed with it."""
        _log.error(
            "'%s' version %d could not run a batch. This is a bug.", *self._plan.key, exc_info=error
        )
        text = (
            f"'{self._plan.model}' version {self._plan.version} could not run a batch: "
            f"{type(error).__name__}: {error}"
        )
        for entry in entries:
            entry.fail(GatewayError(text))

    def _log_retry(self, batch: Batch, parts: int) -> None:
        _log.info(
            "a batch of %d requests for '%s' version %d failed and is retried %s: %s",
            len(batch.run_again),
            *self._plan.key,
            "in parts" if parts > 1 else "as it is",
            batch.error,
        )

    def _fail(self, entries: Iterable[QueuedRequest], error: Exception) -> None:
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

    def __repr__(self) -> str:
        return f"<Dispatcher {self._plan.model} {self._plan.version}>"


def _implements(listener: BatchListener, what: str) -> bool:
    """It has something to do then: a call of what does nothing is left out, at every batch."""
    return getattr(type(listener), what) is not getattr(BatchListener, what)
