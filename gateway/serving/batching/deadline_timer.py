"""Answers requests whose time is over while they wait in a serving process.

Also while no instance is free, when nothing else would look at the queue.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable

from gateway.core.errors import DeadlineExpired
from gateway.core.plan import VersionPlan
from gateway.serving.batching.queue import BatchQueue
from gateway.serving.batching.queued_request import QueuedRequest


class DeadlineTimer:
    """One timer, for the earliest deadline of those who wait in a queue."""

    def __init__(
        self, plan: VersionPlan, queue: BatchQueue, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._plan = plan
        self._queue = queue
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, deadline: float) -> None:
        """Somebody with this deadline (of the loop's clock) begins to wait."""
        if self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._passed)

    def expire(self, entries: Iterable[QueuedRequest]) -> None:
        """Fails requests that the queue has handed out as too late."""
        for entry in entries:
            entry.fail(
                DeadlineExpired(
                    f"Request timeout expired while it waited for '{self._plan.model}' "
                    f"version {self._plan.version}"
                )
            )

    def _passed(self) -> None:
        self._timer = None
        self.expire(self._queue.expire(self._loop.time()))
        if (deadline := self._queue.next_deadline()) != math.inf:
            self.watch(deadline)

    def __repr__(self) -> str:
        return f"<DeadlineTimer {'set' if self._timer is not None else 'idle'}>"
