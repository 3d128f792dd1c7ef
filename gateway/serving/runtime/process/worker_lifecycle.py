"""A worker's processes: the one that serves, and the one that is starting to take its place.

Runs in a serving process, on the worker's thread (`worker_thread`), which owns both processes.

| event | the process that serves | the process that starts |
|---|---|---|
| it was lost: died, hung, outgrew its limit | gone; a start is due, maybe later | goes on |
| it is larger than its limit, between batches | goes on | a start is due: a renewal |
| the starting one is open | ended, if there was one | serves from here on |
| a start failed, another process serves | goes on | none; renewals pause |
| a start failed, no process serves | none | due after a delay, or given up |
"""

from __future__ import annotations

import math
import threading
import time
from typing import Final

from gateway.core.errors import InstanceFailed
from gateway.core.plan import VersionPlan
from gateway.core.protection import ProcessWorkersPlan
from gateway.serving.runtime.process.exchange import Job, Loss
from gateway.serving.runtime.process.restarts import Restarts
from gateway.serving.runtime.process.worker_events import Fate, Reports, WorkerEvent
from gateway.serving.runtime.process.worker_messages import Opened, Refused
from gateway.serving.runtime.process.worker_process import ProcessLost, WorkerProcess

_CHECK_S: Final = 1.0  # between checks of the memory of a process, 5 us each
_RENEWAL_PAUSE_S: Final = 30.0  # after a replacement that did not open
_END_S: Final = 5.0  # for killed processes to be gone, when everything else is over


class WorkerLifecycle:
    """Starts, renews and ends the processes of one worker; see the module for its states.

    `renewing` is held by the one worker of a version that replaces its process.
    """

    def __init__(
        self, plan: VersionPlan, name: str, renewing: threading.Lock, entry: str, reports: Reports
    ) -> None:
        assert plan.protection.workers is not None
        self._plan = plan
        self._name = name
        self._entry = entry
        self._reports = reports
        self.limits: ProcessWorkersPlan = plan.protection.workers
        self.current: WorkerProcess | None = None
        self.coming: WorkerProcess | None = None
        self.memory_limit = 0
        """Bytes; 0: none."""
        self.why_down = "is starting"
        self._renewing = renewing
        self._renews = False
        self._restarts = Restarts(self.limits.start_attempts)
        self._endings: list[threading.Thread] = []
        self._start_at = 0.0
        self._check_at = 0.0
        self._opened_once = False

    @property
    def due_at(self) -> float:
        """When the next start is due, or the one under way has taken too long; monotonic time."""
        coming = self.coming
        return self._start_at if coming is None else coming.started + self.limits.start_timeout_s

    def start_if_due(self) -> None:
        """Starts a process if none is starting and it is time."""
        if self.coming is not None or time.monotonic() < self._start_at:
            return
        self._start_at = math.inf
        try:
            self.coming = WorkerProcess.start(self._plan, self._entry)
        except OSError as error:
            self._not_opened(0, f"no process can be started: {error}")

    def finish_start(self, coming: WorkerProcess, *, spoke: bool) -> None:
        """Takes over the process that has started, or notes why it could not.

        `spoke`: it has sent its answer; else its time is over.
        """
        try:
            answer = coming.answer() if spoke else None
        except ProcessLost as lost:
            self.coming = None
            self._not_opened(
                coming.pid, f"the process {_obituary(coming, str(lost))} while it opened the model"
            )
            return
        if isinstance(answer, Opened):
            self._take_over(coming, answer.warning)
            return
        self.coming = None
        self._end_aside(coming)
        slow = f"to open and warm it took longer than {self.limits.start_timeout_s:g} s"
        self._not_opened(
            coming.pid, answer.reason if isinstance(answer, Refused) else slow, likely_again=True
        )

    def _take_over(self, coming: WorkerProcess, warning: str) -> None:
        """The process that has started serves from here on."""
        old = self.current
        self.current = coming
        self.coming = None
        coming.opened = time.monotonic()
        self._restarts.opened()
        self._end_renewal()
        # A limit that the open model alone exceeds would have it replaced for ever.
        self.memory_limit = self.limits.memory_limit_bytes and max(
            self.limits.memory_limit_bytes, coming.resident_bytes() * 3 // 2
        )
        self._report_opening(coming, old)
        if warning:
            self._report(coming.pid, Fate.NOT_WARMED, f"could not be warmed up: {warning}")
        if old is not None:
            self._end_aside(old)
        self._reports.up(True)
        if not self._opened_once:
            self._opened_once = True
            self._reports.opened("")

    def _report_opening(self, coming: WorkerProcess, old: WorkerProcess | None) -> None:
        took = f"is open after {coming.opened - coming.started:.2f} s"
        if old is None:
            self._report(coming.pid, Fate.OPENED, took)
            return
        self._report(
            coming.pid,
            Fate.RENEWED,
            f"{took}; it takes the place of pid {old.pid} with {old.resident_bytes() >> 20} MiB",
        )

    def _not_opened(self, pid: int, why: str, *, likely_again: bool = False) -> None:
        """Notes a start that failed.

        What a first start fails of and is likely to fail of again is not tried again.
        """
        self._end_renewal()
        if self.current is not None:
            self._check_at = time.monotonic() + _RENEWAL_PAUSE_S
            text = f"could not be started: {why}; the process it was to replace goes on"
            self._report(pid, Fate.NOT_OPENED, text)
            return
        delay_s = None if likely_again and not self._opened_once else self._restarts.start_failed()
        if delay_s is None:
            self.give_up(pid, why)
            return
        self.why_down = f"could not be started: {why}"
        self._start_at = time.monotonic() + delay_s
        self._report(pid, Fate.NOT_OPENED, f"{self.why_down}; tried again in {delay_s:.1f} s")

    def give_up(self, pid: int, why: str) -> None:
        """Starts no process any more."""
        starts = self._restarts.failed_starts
        why = f"{starts} starts failed, the last because {why}" if starts > 1 else why
        self.why_down = f"has been given up: {why}"
        self._start_at = math.inf
        self._report(pid, Fate.GIVEN_UP, self.why_down)
        if not self._opened_once:
            self._reports.opened(why)

    def lose(self, loss: Loss, job: Job | None = None) -> None:
        """Lets the process that served go, or does away with it; the job in it fails."""
        process = self.current
        self.current = None
        if process is None:
            return
        self._reports.up(False)  # before the job fails, so that it is not sent here again
        died = loss.fate is Fate.DIED
        if loss.fate is Fate.OUTGREW:
            process.kill()
        why = _obituary(process, loss.detail) if died else loss.detail
        if job is not None:
            during = " while it ran the batch" if died else ""
            job.fail(InstanceFailed(f"{self.title(process.pid)} {why}{during}"))
        if not died:
            self._end_aside(process)
        self.why_down = f"is started again: its process (pid {process.pid}) {why}"
        self._report(process.pid, loss.fate, f"{why} after {process.batches} batches")
        if self.coming is None:
            now = time.monotonic()
            self._start_at = now + self._restarts.died(now - process.opened)

    def check_memory(self, process: WorkerProcess) -> None:
        """Has a process that is too large replaced.

        The new one is started first, and takes over between two batches.
        """
        if not self.memory_limit or (now := time.monotonic()) < self._check_at:
            return
        self._check_at = now + _CHECK_S
        if (
            process.resident_bytes() > self.memory_limit
            and self.coming is None
            and self._renewing.acquire(blocking=False)
        ):
            self._renews = True
            self._start_at = now

    def end(self) -> None:
        """Begins to end all processes; `join_endings` waits for them."""
        for process in (self.current, self.coming):
            if process is not None:
                self._end_aside(process)
        self.current = None
        self.coming = None
        self._end_renewal()

    def join_endings(self) -> None:
        """Waits until the processes are gone, for as long as killed ones may take."""
        until = time.monotonic() + _END_S
        for thread in self._endings:
            thread.join(max(0.0, until - time.monotonic()))

    def title(self, pid: int = 0) -> str:
        """The worker, for people: `worker 1 (pid 4711) of 'm' version 1`."""
        return (
            f"{self._name}{f' (pid {pid})' if pid else ''} of '{self._plan.model}' "
            f"version {self._plan.version}"
        )

    def _end_renewal(self) -> None:
        if self._renews:
            self._renews = False
            self._renewing.release()

    def _end_aside(self, process: WorkerProcess) -> None:
        """Ends a process in a thread of its own: one that hangs takes a second or longer."""
        self._endings = [thread for thread in self._endings if thread.is_alive()]
        self._endings.append(
            threading.Thread(target=process.end, daemon=True, name=f"end of {process.pid}")
        )
        self._endings[-1].start()

    def _report(self, pid: int, fate: Fate, detail: str) -> None:
        self._reports.on_event(
            WorkerEvent(self._plan.model, self._plan.version, self._name, pid, fate, detail)
        )

    def __repr__(self) -> str:
        pid = self.current.pid if self.current is not None else 0
        return f"<WorkerLifecycle {self.title(pid)}{'' if pid else f' {self.why_down}'}>"


def _obituary(process: WorkerProcess, why: str) -> str:
    """Ends a process that was lost; returns why it was, in words."""
    ending = process.end()
    return why or ending
