"""The shared threads as one instance among others, for versions that run here and elsewhere.

Runs in a serving process.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.instance import Runner, Work
from gateway.serving.runtime.threads.thread_lanes import run_work
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers


class ThreadInstance:
    """Runs up to `capacity` batches at a time in the threads of this process; always up.

    It is a `gateway.core.instance.Instance`.
    """

    name = "threads"
    available = True
    expected_s = 0.0

    def __init__(self, runner: Runner, workers: ThreadWorkers, capacity: int) -> None:
        self._runner = runner
        self._workers = workers
        self.capacity = capacity

    def watch(self, changed: Callable[[], None]) -> None:
        """Does nothing: threads are always available."""

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work as soon as a thread is free."""

        def begin() -> None:
            if self._workers.acquire(begin):
                self._workers.run(lambda: run_work(work, self._runner), done)

        begin()

    def __repr__(self) -> str:
        return f"<ThreadInstance of {self.capacity}>"
