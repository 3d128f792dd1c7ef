"""What becomes of worker processes, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
    """Of the process it happened to; 0 where there was none."""
    fate: Fate
    detail: str = ""
    """In words, for people."""
