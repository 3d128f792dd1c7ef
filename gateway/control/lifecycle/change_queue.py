"""Changes that wait until the control process has them prepared."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from gateway.control.lifecycle.changes import Change
from gateway.control.lifecycle.process_versions import ProcessVersions


class ChangeQueue:
    """Changes in the order in which they will begin; at most `concurrent` are prepared at once."""

    def __init__(self, concurrent: int, processes: ProcessVersions) -> None:
        self._concurrent = concurrent
        self._processes = processes
        self._waiting: deque[Change] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, change: Change) -> None:
        """A change is wanted; one that a caller waits for goes ahead.

        The others come from the start-up pass or from a poll of the repository.
        """
        if change.together or not change.plans:
            self.put_first(change)
        else:
            self._waiting.append(change)

    def put_first(self, change: Change) -> None:
        """The change goes ahead of all that wait."""
        self._waiting.appendleft(change)

    def take(self, preparing: Collection[Change]) -> Change | None:
        """The change that begins now beside those being prepared; None: none may."""
        if self._waiting and self._may_begin(self._waiting[0], preparing):
            return self._waiting.popleft()
        return None

    def _may_begin(self, change: Change, preparing: Collection[Change]) -> bool:
        """There are four cases, each with a line of its own below.

        No process can be asked: only an unload can be decided. A change is being prepared alone:
        none begins. The change is to be prepared alone. It may be prepared beside others.
        """
        if change.plans and not self._processes.joined:
            return False
        if any(other.alone for other in preparing):
            return False
        if change.alone:
            return not preparing and not self._processes.are_aborting
        return len(preparing) < self._concurrent
