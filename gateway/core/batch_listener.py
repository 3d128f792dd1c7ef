"""What listens to the batches of a version in a serving process.

Counters, record writer, circuit breaker and retry budget do. A batch is reported twice, when it
begins to run and when it is over; where it failed and is run again in parts, each part is a batch
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.core.outcome import Outcome
from gateway.core.request import Array, InferenceRequest, Run


class BatchView(Protocol):
    """A batch as its listeners see it.

    Times are nanoseconds of the monotonic clock. `rows` has the padding in it, `request_rows` has
    not; both are -1 where there is no batch axis.
    """

    @property
    def requests(self) -> Sequence[InferenceRequest]:
        """Whose it is."""
        ...

    @property
    def rows(self) -> int:
        """Length of the batch axis."""
        ...

    @property
    def request_rows(self) -> int:
        """Of which the requests have asked for so many."""
        ...

    @property
    def last_run(self) -> Run:
        """What its requests keep of it."""
        ...

    @property
    def instance(self) -> str:
        """Who runs it; empty: threads of this process."""
        ...

    @property
    def started_ns(self) -> int:
        """When its inputs began to be joined; 0: they never were."""
        ...

    @property
    def collated_ns(self) -> int:
        """When they were joined."""
        ...

    @property
    def run_ns(self) -> int:
        """When the model had run, or failed."""
        ...

    @property
    def ended_ns(self) -> int:
        """When its answers were ready, or it was known what becomes of it."""
        ...

    @property
    def input_bytes(self) -> int:
        """Of all its requests."""
        ...

    @property
    def outputs(self) -> Sequence[Array]:
        """What the model answered, padding included."""
        ...

    @property
    def error(self) -> Exception | None:
        """What it failed with."""
        ...

    @property
    def run_again(self) -> Sequence[InferenceRequest]:
        """Its requests that are run again, because it failed; empty where none is."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """What it taught about the model.

        None where that is learnt elsewhere or by nobody: parts of the batch that was first formed
        are still to come, or it failed when all of its callers had left.
        """
        ...

    @property
    def elapsed_s(self) -> float:
        """How long it ran, joining included, in seconds.

        With the last part of a batch that was run in parts: the longest of them.
        """
        ...

    generation: int
    """The circuit breaker's: the one that the batch, as it was first formed, began in."""


class BatchListener:
    """Listens to the batches of a version, on the event loop; to be inherited from.

    It answers nobody and decides nothing: what it raises is logged, and goes no further. What it
    does not define is not called.
    """

    def batch_started(self, batch: BatchView) -> None:
        """A batch is about to run; nothing but its requests, rows and instance is known."""

    def batch_finished(self, batch: BatchView) -> None:
        """A batch has its answers, or failed; its callers hear of it afterwards."""
