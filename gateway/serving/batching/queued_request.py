"""A request that waits in a serving process.

The one record of it between its arrival and its answer.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.request import InferenceRequest, Prediction
from gateway.core.waiter import Waiter
from gateway.serving.batching.bisection import Bisection


class QueuedRequest(Waiter[Prediction]):
    """A request that waits for its prediction.

    `dequeued`: the queue has handed it out, or forgotten it. `bisection`: its batch failed, and it
    is run again in a part of that. `on_leave` is called with it when its caller goes unanswered.
    """

    __slots__ = (
        "_on_leave",
        "arrived",
        "bisection",
        "deadline",
        "dequeued",
        "input_bytes",
        "key",
        "level",
        "order",
        "request",
        "rows",
    )

    def __init__(
        self,
        on_leave: Callable[[QueuedRequest], None],
        request: InferenceRequest,
        level: int,
        deadline: float,
    ) -> None:
        self.settled = False
        self.dequeued = False
        self._error = None
        self._driver = None
        self._callbacks = None
        self._on_leave = on_leave
        self.request = request
        self.level = level
        self.deadline = deadline
        form = request.form
        self.key = form.key
        self.rows = form.rows
        self.input_bytes = form.input_bytes
        self.arrived = request.arrived
        self.order = 0
        self.bisection: Bisection | None = None

    def cancel(self, msg: str | None = None) -> bool:
        """The caller has gone: it is left out of the batch to come."""
        if self.settled:
            return False
        self._on_leave(self)
        return Waiter.cancel(self, msg)
