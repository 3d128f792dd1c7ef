"""A worker process as an instance: the event loop's side of a `WorkerThread`.

Runs in a serving process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final

from gateway.core.errors import InstanceFailed
from gateway.core.instance import Work
from gateway.core.plan import VersionPlan
from gateway.serving.runtime.process.exchange import Job
from gateway.serving.runtime.process.worker_events import Fate, WorkerEvent
from gateway.serving.runtime.process.worker_thread import WorkerThread

_log = logging.getLogger(__name__)

_LEVELS: Final = {
    Fate.OPENED: logging.INFO,
    Fate.RENEWED: logging.INFO,
    Fate.GIVEN_UP: logging.ERROR,
}


class ProcessInstance:
    """Runs batches in a process of its own, one at a time (`gateway.core.instance.Instance`).

    The caller that starts it closes it. `on_event` is called with every event, on the event loop.
    """

    capacity = 1
    expected_s = 0.0
    """0, not known: the pool measures better."""

    def __init__(
        self,
        plan: VersionPlan,
        name: str,
        renewing: threading.Lock,
        entry: str,
        on_event: Callable[[WorkerEvent], None],
    ) -> None:
        self.name = name
        self.available = False
        self._plan = plan
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._watchers: list[Callable[[], None]] = []
        self._first_start: asyncio.Future[str] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._started = False
        self._over = False
        self._thread = WorkerThread(plan, name, renewing, entry, self)

    @property
    def pid(self) -> int:
        """The id of the process that serves; 0 where none does."""
        return self._thread.pid

    async def start(self) -> str:
        """Waits until the model is open and warm; returns why it cannot be, empty where it is."""
        self._started = True
        self._thread.start()
        return await asyncio.shield(self._first_start)

    async def close(self) -> None:
        """Ends the process, also in the middle of a batch, which fails then.

        Takes a second at most where the process hangs.
        """
        if self._started:
            self._started = False
            self._over = True
            self._thread.stop()
            await asyncio.shield(self._ended)
            self._thread.join()

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` after every change of `available`."""
        self._watchers.append(changed)

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Runs the work; `done` is called on the event loop.

        The work is collated, finished and failed on the worker's thread.
        """
        job = Job(work, done, self.settled)
        if self._over or not self._started:
            job.fail(
                InstanceFailed(
                    f"{self.name} of '{self._plan.model}' version {self._plan.version} was stopped"
                )
            )
        else:
            self._thread.submit(job)

    # Called on the worker's thread (`Reports`).

    def up(self, up: bool) -> None:
        """Notes whether batches can be sent."""
        self._on_loop(self._set_available, up)

    def on_event(self, event: WorkerEvent) -> None:
        """Logs an event and passes it on."""
        self._on_loop(self._notify, event)

    def opened(self, error: str) -> None:
        """The first start is over; the error is empty where it succeeded."""
        self._on_loop(self._first_start.set_result, error)

    def settled(self, done: Callable[[], None]) -> None:
        """A job is settled: its `done` is called on the loop."""
        self._on_loop(done)

    def on_end(self) -> None:
        """The thread ends, and reports nothing more."""
        self._on_loop(self._set_ended)

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        # the loop is closed: nobody waits for this any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _set_available(self, up: bool) -> None:
        if up != self.available:
            self.available = up
            for changed in self._watchers:
                changed()

    def _set_ended(self) -> None:
        self._over = True
        self._thread.refuse_jobs()
        if not self._first_start.done():
            self._first_start.set_result("it was stopped while it started")
        self._ended.set_result(None)

    def _notify(self, event: WorkerEvent) -> None:
        level = _LEVELS.get(event.fate, logging.WARNING)
        _log.log(
            level,
            "'%s' version %d: %s (pid %d) %s",
            event.model,
            event.version,
            event.worker,
            event.pid,
            event.detail,
        )
        self._on_event(event)

    def __repr__(self) -> str:
        return (
            f"<ProcessInstance {self.name}, {'up' if self.available else 'down'}, {self._thread!r}>"
        )
