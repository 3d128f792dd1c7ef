"""Threads that run batches: one pool for all versions of a serving process.

ONNX Runtime frees the GIL while a model computes, so threads share its work out over cores. Their
number does not grow with the models that are loaded. A thread is lent to the version that asked
first; a version asks only while requests wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Self

_log = logging.getLogger(__name__)
_Job = tuple[Callable[[], None], Callable[[], None]]


class ThreadWorkers:
    """A pool of `count` daemon threads; everything but the jobs runs on the event loop's thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiting: deque[Callable[[], None]] = deque()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._threads: list[threading.Thread] = []

    async def __aenter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{i}", daemon=True)
            for i in range(self.count)
        ]
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Lets the threads end after the jobs they have; does not wait for a job that hangs."""
        for _thread in self._threads:
            self._jobs.put(None)

    def acquire(self, ready: Callable[[], None]) -> bool:
        """Takes a free worker.

        Without one, `ready` is called once, on the loop, when one is free; it is not held for the
        caller then.
        """
        if self._free:
            self._free -= 1
            return True
        self._waiting.append(ready)
        return False

    def release(self) -> None:
        """Gives an acquired worker back unused."""
        self._free += 1
        self._lend()

    def run(self, job: Callable[[], None], done: Callable[[], None]) -> None:
        """Runs the job on the worker acquired before.

        Then it gives the worker back and calls `done` on the loop.
        """
        self._jobs.put((job, done))

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            try:
                job()
            except Exception:  # noqa: BLE001  # the thread outlives a bad job
                _log.exception("A batch's job raised. This is a bug.")
            try:
                self._loop.call_soon_threadsafe(self._ran, done)
            except RuntimeError:  # the loop is closed: nobody waits for this any more
                return
            # an idle thread keeps nothing alive
            item = None
            job = None  # type: ignore[assignment]
            done = None  # type: ignore[assignment]

    def _ran(self, done: Callable[[], None]) -> None:
        self._free += 1
        self._lend()  # others have waited longer than the version whose batch this was
        done()

    def _lend(self) -> None:
        while self._free and self._waiting:
            self._waiting.popleft()()

    def __repr__(self) -> str:
        return (
            f"<ThreadWorkers {self.count - self._free} of {self.count} busy, "
            f"{len(self._waiting)} versions wait>"
        )
