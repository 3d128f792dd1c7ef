"""Where the batches of a version run, as the batcher sees it.

There are two kinds: the threads of this process (`thread_lanes`), and instances that can be lost
(`instance_pool`): worker processes, other servers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from gateway.core.instance import Work


class Slot(Protocol):
    """A place on an instance, taken for one batch."""

    @property
    def name(self) -> str:
        """The instance's name; empty: threads of this process."""
        ...

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work, gives the place back, and calls `done` on the loop, once.

        Raises nothing that the work could be failed with; if it does raise, it has run nothing,
        calls nobody, and the place is still taken.
        """
        ...


class Instances(Protocol):
    """What can run batches of this version."""

    @property
    def max_concurrency(self) -> int:
        """Batches that run at the same time, at most."""
        ...

    def acquire(self, ready: Callable[[], None]) -> Slot | None:
        """Takes a place for one batch.

        Without one, calls `ready` on the loop when asking again may help (nothing is held then).
        """
        ...

    def unreachable(self) -> str:
        """Why nobody is left who could run a batch; empty where somebody is."""
        ...

    def release(self, slot: Any) -> None:
        """Gives a place that it lent back unused."""
        ...
