"""What becomes of worker processes, as events. Runs in a serving process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Fate(Enum):
    """What happened to a worker process."""

    OPENED = "opened"
    """It serves."""
    NOT_WARMED = "not warmed up"
    """It serves, and its first callers may wait longer."""
    NOT_OPENED = "not opened"
    """A start failed; there may be another."""
    DIED = "died"
    HUNG = "hung"
    """A run took too long: the process was killed."""
    OUTGREW = "outgrew"
    """A run took more than twice the memory allowed: the process was killed."""
    RENEWED = "renewed"
    """It had more memory than allowed, and a fresh process took its place between two batches."""
    GIVEN_UP = "given up"
    """Too many starts failed one after the other.

    The worker stays down until the version is loaded again.
    """


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One thing that happened to a worker of a version."""

    model: str
    version: int
    worker: str
    """The instance's name."""
    pid: int
    """The process it happened to; 0 where there was none."""
    fate: Fate
    detail: str = ""
    """A text for people."""


class Reports(Protocol):
    """What a worker's thread reports to its instance. All is called on the thread.

    A protocol, because the instance makes the thread: importing it here would be a cycle.
    """

    def up(self, up: bool) -> None:
        """Batches can be sent, or not."""
        ...

    def on_event(self, event: WorkerEvent) -> None:
        """An event that people should see."""
        ...

    def opened(self, error: str) -> None:
        """The first start is over; the error is empty where it succeeded."""
        ...

    def settled(self, done: Callable[[], None]) -> None:
        """A job is settled: `done` is to be called on the loop."""
        ...

    def on_end(self) -> None:
        """The thread ends; nothing is reported after this."""
        ...
