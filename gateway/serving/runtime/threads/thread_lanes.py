"""Runs a version's batches in the threads that all versions of a serving process share."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.instance import Runner, Work
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers


class ThreadSlots:
    """Runs at most `capacity` (`max_concurrency`) batches of one version at a time.

    Each place that it lends is itself.
    """

    name = ""

    def __init__(self, runner: Runner, workers: ThreadWorkers, capacity: int) -> None:
        self._runner = runner
        self._workers = workers
        self.max_concurrency = capacity
        self._running = 0
        self._ready: Callable[[], None] | None = None

    def acquire(self, ready: Callable[[], None]) -> ThreadSlots | None:
        """Takes a thread; without one, calls `ready` when one is free.

        Where the version's own places are taken it calls nothing: the end of a batch frees one.
        """
        if self._running >= self.max_concurrency or self._ready is not None:
            return None
        if self._workers.acquire(self._thread_free):
            self._running += 1
            return self
        self._ready = ready
        return None

    def release(self, _slot: object) -> None:
        """Gives a thread back unused."""
        self._running -= 1
        self._workers.release()

    def unreachable(self) -> str:
        """Why no batch can run: never, threads are always there."""
        return ""

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work in the thread that was taken."""

        def over() -> None:
            self._running -= 1
            done()

        self._workers.run(lambda: run_work(work, self._runner), over)

    def _thread_free(self) -> None:
        ready = self._ready
        self._ready = None
        assert ready is not None
        ready()

    def __repr__(self) -> str:
        return f"<ThreadSlots {self._running} of {self.max_concurrency} running>"


def run_work(work: Work, runner: Runner) -> None:
    """Runs the work; blocks, and never raises."""
    try:
        work.finish(runner.run(work.collate(), work.wanted, work.rows))
    except Exception as error:  # noqa: BLE001  # it belongs to the requests
        work.fail(error)
