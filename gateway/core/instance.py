"""What runs batches of a version: threads of this process, a worker process, a remote address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gateway.core.request import Array, InferenceRequest

if TYPE_CHECKING:
    import numpy as np

Room = Callable[[tuple[int, ...], "np.dtype[Any]"], Array]
"""Gives an array of this shape and dtype to be filled."""


class Runner(Protocol):
    """What runs a model; blocks."""

    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs by index; raises `ModelFailed`.

        `rows` is the length of the batch axis, -1 where there is none.
        """
        ...


class Work(Protocol):
    """A batch as its instance sees it. `finish` or `fail` is called once."""

    @property
    def rows(self) -> int:
        """Length of the batch axis, padding included; -1 where there is none."""
        ...

    @property
    def wanted(self) -> tuple[int, ...]:
        """Indexes of the outputs to answer, of the version's outputs."""
        ...

    @property
    def deadline(self) -> float:
        """When the last of its callers stops waiting, in seconds of the monotonic clock.

        Infinity where one has no deadline.
        """
        ...

    @property
    def input_bytes(self) -> int:
        """Size of all inputs together, padding left out."""
        ...

    @property
    def error(self) -> Exception | None:
        """What it failed with, once it is over."""
        ...

    @property
    def alone(self) -> bool:
        """It holds one request: what fails it is that request's or the model's own."""
        ...

    @property
    def number(self) -> int:
        """By which it is written down; 0: it is not."""
        ...

    @property
    def requests(self) -> Sequence[InferenceRequest]:
        """Whose it is."""
        ...

    def collate(self, room: Room | None = None) -> dict[str, Array]:
        """The inputs by name, each aligned and contiguous.

        Copies, so rather call it off the event loop where they are large.

        Where `room` is given the copies are made in arrays it gives, so that a sender need not copy
        them again.
        """
        ...

    def finish(self, outputs: list[Array]) -> None:
        """The wanted outputs, in that order, in memory that stays as it is."""
        ...

    def fail(self, error: Exception) -> None:
        """It could not be run.

        `ModelFailed` where the model was at fault (or a request's values),
        `InstanceFailed` where the instance was.
        """
        ...


class Instance(Protocol):
    """Runs batches of one version, and can fail on its own.

    Everything is called on the event loop; the work's methods may be called elsewhere.
    """

    @property
    def name(self) -> str:
        """Which one it is, for people and for operators: `threads`, `worker 1`, `10.0.0.7:8001`.

        Stays the same over restarts.
        """
        ...

    @property
    def capacity(self) -> int:
        """Batches it takes at the same time."""
        ...

    @property
    def available(self) -> bool:
        """It is up: false while it starts, after it died, while its health says so."""
        ...

    @property
    def expected_s(self) -> float:
        """How long it thinks its next batch takes, in seconds.

        0: it does not know better than the pool.
        """
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls the listener after every change of `available`, on the event loop."""
        ...

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work; calls `done` on the event loop, once.

        After the work was finished or failed. Never raises.
        """
        ...
