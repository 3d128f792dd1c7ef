"""The thread that one worker has to itself: it waits for processes and takes batches to them.

Runs in a serving process. All that blocks is here, so a process that hangs costs nobody else a
thread. Between batches it waits in one place: for the process that serves, for the one that is
starting, and for the event loop's bell. It owns both processes (`worker_lifecycle`); nobody else
touches them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from gateway.core.errors import InstanceFailed
from gateway.core.plan import VersionPlan
from gateway.serving.runtime.process.exchange import Bell, Exchange, Job, Loss
from gateway.serving.runtime.process.worker_events import Fate, Reports
from gateway.serving.runtime.process.worker_lifecycle import WorkerLifecycle

_log = logging.getLogger(__name__)


class WorkerThread:
    """Takes jobs to a worker's process. `submit` and `stop` are the event loop's to call.

    The rest is the thread's own. `renewing`: see `WorkerLifecycle`.
    """

    def __init__(
        self, plan: VersionPlan, name: str, renewing: threading.Lock, entry: str, reports: Reports
    ) -> None:
        self._reports = reports
        self._lifecycle = WorkerLifecycle(plan, name, renewing, entry, reports)
        self._jobs: deque[Job] = deque()
        self._paused = False
        self.stopping = False
        self._thread = threading.Thread(
            target=self._live, daemon=True, name=f"{plan.model} {plan.version} {name}"
        )

    @property
    def pid(self) -> int:
        """The id of the process that serves; 0 where none does."""
        current = self._lifecycle.current
        return current.pid if current is not None else 0

    def start(self) -> None:
        """Begins, with the first start of the process."""
        self._bell = Bell()
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hands a job over; it is settled soon, whatever the state."""
        self._jobs.append(job)
        self._bell.ring()

    def stop(self) -> None:
        """Has the process ended, also in the middle of a batch, and then the thread; `join` it."""
        self.stopping = True
        self._bell.ring()

    def refuse_jobs(self) -> None:
        """Fails the jobs that were handed over and will not begin."""
        while self._jobs:
            self._fail_down(self._jobs.popleft())

    def join(self) -> None:
        """Waits for the thread's end and gives up what is held."""
        self._thread.join()
        self._bell.close()

    def pause(self) -> None:
        """Takes no further batch: the last was given up, but the process still runs it."""
        self._paused = True
        self._reports.up(False)

    def _live(self) -> None:
        while not self.stopping:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  # callers wait for an end, whatever it is
                _log.exception("%s failed. This is a bug.", self._lifecycle.title())
                self._lifecycle.give_up(0, f"its thread failed: {error}")
                break
        self._end()

    def _step(self) -> None:
        lifecycle = self._lifecycle
        lifecycle.start_if_due()
        coming = lifecycle.coming
        current = lifecycle.current
        until = lifecycle.due_at
        ready = self._bell.wait(0 if self._jobs else until - time.monotonic(), current, coming)
        if coming is not None and (coming in ready or time.monotonic() >= until):
            lifecycle.finish_start(coming, spoke=coming in ready)
        if current is not None and current in ready and current is lifecycle.current:
            lifecycle.lose(Loss(Fate.DIED))  # it was asked nothing: this can only be its end
        if self._jobs and not self.stopping:
            # one, so that batches upon batches do not keep a replacement from taking over
            self._run(self._jobs.popleft())

    def _run(self, job: Job) -> None:
        lifecycle = self._lifecycle
        process = lifecycle.current
        if process is None:
            self._fail_down(job)
            return
        loss = Exchange(
            process, job, lifecycle.limits.batch_timeout_s, lifecycle.memory_limit, self._bell, self
        ).run()
        if loss is not None:
            self._paused = False
            lifecycle.lose(loss, job)
        elif self.stopping:
            job.fail(InstanceFailed(f"{lifecycle.title(process.pid)} was stopped"))
        else:
            if self._paused:
                self._paused = False
                self._reports.up(True)
            lifecycle.check_memory(process)

    def _fail_down(self, job: Job) -> None:
        job.fail(InstanceFailed(f"{self._lifecycle.title()} {self._lifecycle.why_down}"))

    def _end(self) -> None:
        self._reports.up(False)
        if self.stopping:
            self._lifecycle.why_down = "was stopped"
        self._lifecycle.end()
        self.refuse_jobs()
        self._lifecycle.join_endings()
        self._reports.on_end()

    def __repr__(self) -> str:
        return f"<WorkerThread {self._lifecycle!r}>"
