"""Refuses requests on arrival that would be answered too late, in a serving process.

So those that can be answered in time are not held up by others that cannot.
"""

from __future__ import annotations

from typing import Final

from gateway.core.errors import DeadlineExpired, Overloaded
from gateway.core.plan import VersionPlan
from gateway.serving.batching.latency_forecast import LatencyForecast
from gateway.serving.batching.queue import BatchQueue
from gateway.serving.batching.queued_request import QueuedRequest

# share of the time a request has besides its run that it may be expected to wait
_PATIENCE: Final = 0.5


class DeadlineAdmission:
    """What the deadlines of one version's requests allow.

    `max_concurrency`: batches that run at the same time; `now` is the batcher's clock.
    """

    def __init__(self, plan: VersionPlan, batch_queue: BatchQueue, max_concurrency: int) -> None:
        self._plan = plan
        self._batch_queue = batch_queue
        self._max_concurrency = max_concurrency
        self._forecast = LatencyForecast(
            plan.cost_us, plan.batching.useful_batch_size, max_concurrency
        )
        self._enabled = plan.protection.admission.predict_wait

    def require(self, queued: QueuedRequest, running: int, now: float) -> None:
        """Raises DeadlineExpired where the answer would come too late.

        Overloaded where the queue is too long for the time there is.

        A wait of up to half the time that is left besides the run is taken on: what is predicted is
        from the best pace of late, and the longer the queue the longer everybody's answer takes.
        """
        forecast = self._forecast
        ahead = self._batch_queue.timed_rows
        slack_s = queued.deadline - now
        if slack_s <= 0:
            raise DeadlineExpired(
                f"Request timeout expired before '{self._plan.model}' version "
                f"{self._plan.version} had the request"
            )
        if not self._enabled:
            return
        # alone: a run that took long before may have been about other values
        if not (ahead or running):
            if (least_s := forecast.least_s(queued.rows, now)) > slack_s:
                raise DeadlineExpired(self._text(0.0, least_s, slack_s))
            return
        answer_s = forecast.answer_s(min(self._batch_queue.limit, ahead + queued.rows) or 1, now)
        wait_s = forecast.wait_s(ahead, now)
        if running >= self._max_concurrency:
            wait_s += forecast.run_s(self._batch_queue.limit or 1, now) / 2
        if wait_s + answer_s > slack_s:
            raise DeadlineExpired(self._text(wait_s, answer_s, slack_s))
        if wait_s > _PATIENCE * (slack_s - answer_s):
            raise Overloaded(self._text(wait_s, answer_s, slack_s))

    def answered_at(self, now: float, running: int) -> float:
        """When a batch taken now has its answers.

        With nobody's deadline to mind, or nobody else to run instead, now.
        """
        batch_queue = self._batch_queue
        if not (self._enabled and batch_queue.timed_rows) or (
            not running and batch_queue.rows <= max(1, batch_queue.limit)
        ):
            return now
        return now + self._forecast.answer_s(batch_queue.next_rows(), now)

    def ran(self, rows: int, run_s: float, now: float) -> None:
        """A batch has ended; `run_s` of 0: it failed."""
        self._forecast.ran(rows, run_s, now, backlog=self._batch_queue.count > 0)

    def _text(self, wait_s: float, answer_s: float, slack_s: float) -> str:
        return (
            f"'{self._plan.model}' version {self._plan.version} is too busy for this request's "
            f"deadline: {slack_s * 1e3:.1f} ms are left, its turn comes in about "
            f"{wait_s * 1e3:.1f} ms and takes {answer_s * 1e3:.1f} ms"
        )

    def __repr__(self) -> str:
        return f"<DeadlineAdmission {self._forecast!r}>"
