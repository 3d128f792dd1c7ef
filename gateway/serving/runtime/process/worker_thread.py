"""The thread that one worker has to itself: keeps a process running, and takes batches to it.

All that blocks is here, so a process that hangs costs nobody else a thread. Between batches it
waits in one place: for the process that serves, for the one that is starting, and for the event
loop's bell. It owns both processes; nobody else touches them.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway.core.errors import InstanceFailed
from gateway.core.plan import VersionPlan
from gateway.core.protection import ProcessWorkersPlan
from gateway.serving.runtime.process.exchange import Bell, Exchange, Job, Loss
from gateway.serving.runtime.process.restarts import Restarts
from gateway.serving.runtime.process.worker_events import Fate, WorkerEvent
from gateway.serving.runtime.process.worker_messages import Opened, Refused
from gateway.serving.runtime.process.worker_process import ProcessLost, WorkerProcess

_log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0  # between looks at the memory of a process, 5 us each
_RENEWAL_PAUSE_S: Final = 30.0  # after a replacement that did not open
_END_S: Final = 5.0  # for killed processes to be gone, when everything else is over


class Reports(Protocol):
    """What the thread tells; called on the thread."""

    def up(self, up: bool) -> None:
        """Batches can be sent, or not."""
        ...

    def happened(self, event: WorkerEvent) -> None:
        """For people."""
        ...

    def opened(self, error: str) -> None:
        """The first start is over; the error is empty where it succeeded."""
        ...

    def settled(self, done: Callable[[], None]) -> None:
        """A job is: `done` is to be called on the loop."""
        ...

    def ended(self) -> None:
        """The last word."""
        ...


class WorkerThread:
    """Keeps a worker's process running.

    `submit` and `stop` are the event loop's; the rest is the thread's own.

    `renewing`: held by the one worker of a version that replaces its process.
    """

    def __init__(
        self, plan: VersionPlan, name: str, renewing: threading.Lock, entry: str, reports: Reports
    ) -> None:
        assert plan.protection.workers is not None
        self._plan = plan
        self._name = name
        self._entry = entry
        self._reports = reports
        self._limits: ProcessWorkersPlan = plan.protection.workers
        self._renewing = renewing
        self._renews = False
        self._restarts = Restarts(self._limits.start_attempts)
        self._jobs: deque[Job] = deque()
        self._current: WorkerProcess | None = None
        self._coming: WorkerProcess | None = None
        self._endings: list[threading.Thread] = []
        self._start_at = 0.0
        self._look_at = 0.0
        self._memory_limit = 0
        self._paused = False
        self._opened_once = False
        self.stopping = False
        self._why_down = "is starting"
        self._thread = threading.Thread(
            target=self._live, daemon=True, name=f"{plan.model} {plan.version} {name}"
        )

    @property
    def pid(self) -> int:
        """Of the process that serves; 0 where none does."""
        current = self._current
        return current.pid if current is not None else 0

    def start(self) -> None:
        """Begins with the first start."""
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
        """Fails what was handed over and not begun, when it will not be."""
        while self._jobs:
            self._jobs.popleft().fail(InstanceFailed(f"{self._title()} {self._why_down}"))

    def join(self) -> None:
        """Waits for the end and gives up what is held."""
        self._thread.join()
        self._bell.close()

    def pause(self) -> None:
        """Its batch is given up, but the process still runs it."""
        self._paused = True
        self._reports.up(False)

    def _live(self) -> None:
        while not self.stopping:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  # whoever waits must be told, whatever it is
                _log.exception("%s failed. This is a bug.", self._title())
                self._give_up(0, f"its thread failed: {error}")
                break
        self._end()

    def _step(self) -> None:
        if self._coming is None and time.monotonic() >= self._start_at:
            self._start()
        coming = self._coming
        current = self._current
        until = self._start_at if coming is None else coming.started + self._limits.start_timeout_s
        ready = self._bell.wait(0 if self._jobs else until - time.monotonic(), current, coming)
        if coming is not None and (coming in ready or time.monotonic() >= until):
            self._hear(coming, spoke=coming in ready)
        if current is not None and current in ready and current is self._current:
            self._lose(Loss(Fate.DIED))  # it was asked nothing: this can only be its end
        if self._jobs and not self.stopping:
            # one, so that batches upon batches do not keep a replacement from taking over
            self._run(self._jobs.popleft())

    def _start(self) -> None:
        self._start_at = math.inf
        try:
            self._coming = WorkerProcess.start(self._plan, self._entry)
        except OSError as error:
            self._not_opened(0, f"no process can be started: {error}")

    def _hear(self, coming: WorkerProcess, *, spoke: bool) -> None:
        """What became of the process that is starting."""
        try:
            answer = coming.answer() if spoke else None
        except ProcessLost as lost:
            self._coming = None
            self._not_opened(
                coming.pid, f"the process {_obituary(coming, str(lost))} while it opened the model"
            )
            return
        if isinstance(answer, Opened):
            self._take_over(coming, answer.warning)
            return
        self._coming = None
        self._end_aside(coming)
        slow = f"to open and warm it took longer than {self._limits.start_timeout_s:g} s"
        self._not_opened(
            coming.pid, answer.reason if isinstance(answer, Refused) else slow, likely_again=True
        )

    def _take_over(self, coming: WorkerProcess, warning: str) -> None:
        """The process that has started serves from here on."""
        old = self._current
        self._current = coming
        self._coming = None
        coming.opened = time.monotonic()
        self._restarts.opened()
        self._end_renewal()
        # A limit that the open model alone exceeds would have it replaced for ever.
        self._memory_limit = self._limits.memory_limit_bytes and max(
            self._limits.memory_limit_bytes, coming.resident_bytes() * 3 // 2
        )
        took = f"is open after {coming.opened - coming.started:.2f} s"
        if old is None:
            self._tell(coming.pid, Fate.OPENED, took)
        else:
            self._tell(
                coming.pid,
                Fate.RENEWED,
                f"{took}; it takes the place of pid {old.pid} with "
                f"{old.resident_bytes() >> 20} MiB",
            )
        if warning:
            self._tell(coming.pid, Fate.NOT_WARMED, f"could not be warmed up: {warning}")
        if old is not None:
            self._end_aside(old)
        self._reports.up(True)
        if not self._opened_once:
            self._opened_once = True
            self._reports.opened("")

    def _not_opened(self, pid: int, why: str, *, likely_again: bool = False) -> None:
        """A start failed.

        What a first start fails of and is likely to fail of again is not tried again.
        """
        self._end_renewal()
        if self._current is not None:
            self._look_at = time.monotonic() + _RENEWAL_PAUSE_S
            self._tell(
                pid,
                Fate.NOT_OPENED,
                f"could not be started: {why}; the process it was to replace goes on",
            )
            return
        delay_s = None if likely_again and not self._opened_once else self._restarts.start_failed()
        if delay_s is None:
            self._give_up(pid, why)
            return
        self._why_down = f"could not be started: {why}"
        self._start_at = time.monotonic() + delay_s
        self._tell(pid, Fate.NOT_OPENED, f"{self._why_down}; tried again in {delay_s:.1f} s")

    def _give_up(self, pid: int, why: str) -> None:
        starts = self._restarts.failed_starts
        why = f"{starts} starts failed, the last because {why}" if starts > 1 else why
        self._why_down = f"has been given up: {why}"
        self._start_at = math.inf
        self._tell(pid, Fate.GIVEN_UP, self._why_down)
        if not self._opened_once:
            self._reports.opened(why)

    def _run(self, job: Job) -> None:
        process = self._current
        if process is None:
            job.fail(InstanceFailed(f"{self._title()} {self._why_down}"))
            return
        loss = Exchange(
            process, job, self._limits.batch_timeout_s, self._memory_limit, self._bell, self
        ).run()
        if loss is not None:
            self._lose(loss, job)
        elif self.stopping:
            job.fail(InstanceFailed(f"{self._title(process.pid)} was stopped"))
        else:
            if self._paused:
                self._paused = False
                self._reports.up(True)
            self._look_at_memory(process)

    def _lose(self, loss: Loss, job: Job | None = None) -> None:
        """The process that served is gone, or is done away with."""
        process = self._current
        self._current = None
        if process is None:
            return
        self._paused = False
        self._reports.up(False)  # before the job fails, so that it is not sent here again
        why = loss.detail
        if loss.fate is Fate.DIED:
            why = _obituary(process, why)
        elif loss.fate is Fate.OUTGREW:
            process.kill()
        if job is not None:
            job.fail(
                InstanceFailed(
                    f"{self._title(process.pid)} "
                    f"{why}{' while it ran the batch' if loss.fate is Fate.DIED else ''}"
                )
            )
        if loss.fate is not Fate.DIED:
            self._end_aside(process)
        self._why_down = f"is started again: its process (pid {process.pid}) {why}"
        self._tell(process.pid, loss.fate, f"{why} after {process.batches} batches")
        if self._coming is None:
            self._start_at = time.monotonic() + self._restarts.died(
                time.monotonic() - process.opened
            )

    def _look_at_memory(self, process: WorkerProcess) -> None:
        """Has a process that is too large replaced.

        The new one is started first, and takes over between two batches.
        """
        if not self._memory_limit or (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + _LOOK_S
        if (
            process.resident_bytes() > self._memory_limit
            and self._coming is None
            and self._renewing.acquire(blocking=False)
        ):
            self._renews = True
            self._start_at = now

    def _end_renewal(self) -> None:
        if self._renews:
            self._renews = False
            self._renewing.release()

    def _end_aside(self, process: WorkerProcess) -> None:
        """Ends a process without waiting for it.

        One that hangs takes a second, one that the kernel holds takes longer.
        """
        self._endings = [thread for thread in self._endings if thread.is_alive()]
        self._endings.append(
            threading.Thread(target=process.end, daemon=True, name=f"end of {process.pid}")
        )
        self._endings[-1].start()

    def _end(self) -> None:
        self._reports.up(False)
        self._why_down = "was stopped" if self.stopping else self._why_down
        for process in (self._current, self._coming):
            if process is not None:
                self._end_aside(process)
        self._current = None
        self._coming = None
        self._end_renewal()
        self.refuse_jobs()
        until = time.monotonic() + _END_S
        for thread in self._endings:
            thread.join(max(0.0, until - time.monotonic()))
        self._reports.ended()

    def _title(self, pid: int = 0) -> str:
        return (
            f"{self._name}{f' (pid {pid})' if pid else ''} of '{self._plan.model}' "
            f"version {self._plan.version}"
        )

    def _tell(self, pid: int, fate: Fate, detail: str) -> None:
        self._reports.happened(
            WorkerEvent(self._plan.model, self._plan.version, self._name, pid, fate, detail)
        )

    def __repr__(self) -> str:
        return (
            "<WorkerThread "
            f"{self._title(self.pid)}{'' if self._current is not None else ' ' + self._why_down}>"
        )


def _obituary(process: WorkerProcess, why: str) -> str:
    """Why a process was lost, in words; it is ended."""
    ending = process.end()
    return why or ending
