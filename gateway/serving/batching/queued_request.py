"""A request that waits: the one record of it between its arrival and its answer."""

from __future__ import annotations

from typing import Protocol

from gateway.core.request import InferenceRequest, Prediction
from gateway.core.waiter import Waiter
from gateway.serving.batching.bisection import Origin


class Queue(Protocol):
    """Where it waits."""

    def left(self, waiting: Waiting) -> None:
        """Its caller has gone."""
        ...


class Waiting(Waiter[Prediction]):
    """A request that waits for its prediction.

    `taken`: it is in a batch; `origin`: that batch failed, and this is part of what is run again.
    """

    __slots__ = (
        "_queue",
        "arrived",
        "deadline",
        "key",
        "level",
        "order",
        "origin",
        "request",
        "rows",
        "taken",
    )

    def __init__(
        self, queue: Queue, request: InferenceRequest, level: int, deadline: float
    ) -> None:
        self.settled = False
        self.taken = False
        self._error = None
        self._driver = None
        self._callbacks = None
        self._queue = queue
        self.request = request
        self.level = level
        self.deadline = deadline
        self.key = request.form.key
        self.rows = request.form.rows
        self.arrived = request.arrived
        self.order = 0
        self.origin: Origin | None = None

    def cancel(self, msg: str | None = None) -> bool:
        """The caller has gone: it is left out of the batch to come."""
        if self.settled:
            return False
        self._queue.left(self)
        return Waiter.cancel(self, msg)
