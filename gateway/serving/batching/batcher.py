"""Requests wait here until an instance is free to run them; then all that wait go together.

Each served version has one in each serving process. Pull, not push: first the free instance, then
the batch, so it is as large as the load made it and nobody waits for a timer (`max_queue_delay` is
for models where a fuller batch pays). Here requests arrive; `queue` decides who goes, `puller` has
them run.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from gateway.core.batch_listener import BatchListener
from gateway.core.errors import QueueFull
from gateway.core.instance import Runner
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction
from gateway.serving.batching.deadline_admission import DeadlineAdmission
from gateway.serving.batching.deadline_timer import DeadlineTimer
from gateway.serving.batching.dispatcher import Dispatcher
from gateway.serving.batching.fair_share import default_shares
from gateway.serving.batching.puller import Puller
from gateway.serving.batching.queue import BatchQueue
from gateway.serving.batching.queued_request import QueuedRequest
from gateway.serving.batching.slots import Instances
from gateway.serving.policies.retry_budget import RetryBudget


class Batcher:
    """A Predictor that waits for company, and runs batches of one version.

    `runner`: what small batches are run with on the event loop itself, where the plan says so.
    `listeners` and `retries`: as the dispatcher has them.
    """

    def __init__(
        self,
        plan: VersionPlan,
        instances: Instances,
        *,
        listeners: Sequence[BatchListener],
        retries: RetryBudget,
        runner: Runner | None = None,
    ) -> None:
        self._plan = plan
        self._limits = plan.queue
        levels = plan.queue.priority_levels
        admission = plan.protection.admission
        self._batch_queue = BatchQueue(
            plan.batching, (admission.priority_shares or default_shares(levels)) if levels else ()
        )
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._deadline_admission = DeadlineAdmission(
            plan, self._batch_queue, instances.max_concurrency
        )
        self._timer = DeadlineTimer(plan, self._batch_queue, loop)
        self._puller = Puller(
            plan,
            self._batch_queue,
            self._deadline_admission,
            self._timer,
            Dispatcher(plan, listeners, retries),
            instances,
            runner,
        )
        self._default_deadline_s = admission.default_deadline_s
        self._plain = not (levels or plan.queue.default_timeout_s or self._default_deadline_s)
        # one object each for all requests
        self._leaves = self._on_leave
        self._pull_soon = self._puller.pull_soon

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The prediction.

        Raises QueueFull, Overloaded, DeadlineExpired, CircuitBreakerOpen, InstanceFailed,
        ModelFailed.
        There are three cases: there is no room; its deadline could not be kept; it waits.
        """
        form = request.form
        if self._plain and not (form.timeout_s and self._limits.allow_timeout_override):
            queued = QueuedRequest(self._leaves, request, 0, request.deadline)
        else:
            level = self._level(form.priority)
            queued = QueuedRequest(self._leaves, request, level, self._deadline(request))
        batch_queue = self._batch_queue
        limits = self._limits
        if batch_queue.count >= limits.max_requests or (
            batch_queue.bytes + form.input_bytes > limits.max_bytes and batch_queue.count
        ):
            raise QueueFull(self._full_text())
        if queued.deadline != math.inf:
            self._deadline_admission.require(queued, self._puller.running, self._now())
            self._timer.watch(queued.deadline)
        batch_queue.add(queued)
        self._pull_soon()
        return await queued

    def describe(self) -> Description:
        """Where requests become batches."""
        b = self._plan.batching
        return Description(
            "Batcher",
            b.reason
            or ("one by one" if not b.max_batch_size else f"up to {b.useful_batch_size} rows"),
        )

    @property
    def load(self) -> tuple[int, int, int]:
        """Requests that wait, their bytes, and batches that run."""
        return self._batch_queue.count, self._batch_queue.bytes, self._puller.running

    @property
    def idle(self) -> bool:
        """Nobody waits, nothing runs."""
        return not self._batch_queue.count and not self._puller.running

    def _on_leave(self, queued: QueuedRequest) -> None:
        """A request's caller has gone: of one that is in a batch, the answer is thrown away."""
        if not queued.dequeued:
            self._batch_queue.forget(queued)

    def _level(self, priority: int) -> int:
        levels = self._limits.priority_levels
        if not levels:
            return 0
        return min(priority or self._limits.default_priority or levels, levels)

    def _deadline(self, request: InferenceRequest) -> float:
        """The earliest of the caller's own (else the default's), and of how long it may wait."""
        deadline = request.deadline
        limit = self._limits.default_timeout_s
        if deadline == math.inf and self._default_deadline_s:
            deadline = request.arrived + self._default_deadline_s
        asked = request.form.timeout_s if self._limits.allow_timeout_override else 0.0
        if asked and (not limit or asked < limit):
            limit = asked
        return min(deadline, request.arrived + limit) if limit else deadline

    def _full_text(self) -> str:
        return (
            f"Exceeds maximum queue size: {self._batch_queue.count} requests "
            f"({self._batch_queue.bytes} bytes) wait for '{self._plan.model}' version "
            f"{self._plan.version}, {self._limits.max_requests} requests and "
            f"{self._limits.max_bytes} bytes may (`queue` in model.yaml)"
        )

    def __repr__(self) -> str:
        return (
            f"<Batcher {self._plan.model} {self._plan.version}: {self._batch_queue.count} "
            f"waiting, {self._puller.running} running>"
        )
