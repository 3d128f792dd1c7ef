"""One batch on one worker process: sent, waited for under its time limit, taken back.

Runs in a serving process, on the worker's thread.
"""

from __future__ import annotations

import logging
import math
import os
import select
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from gateway.core.errors import DeadlineExpired, GatewayError, ModelFailed
from gateway.core.instance import Work
from gateway.core.request import Array
from gateway.serving.runtime.process.worker_events import Fate
from gateway.serving.runtime.process.worker_messages import Failed, Ran
from gateway.serving.runtime.process.worker_process import ProcessLost, WorkerProcess

_log = logging.getLogger(__name__)

# between checks of the memory of a run, where there is a limit: a model that allocates
# without end gets 1 GB in a second
_POLL_S: Final = 0.1


class Bell:
    """Wakes the thread that waits for it and for links; rung on any thread."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        """Ends the wait, or the next one."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout_s: float, *processes: WorkerProcess | None) -> set[WorkerProcess]:
        """Waits until it rings, the time is over, or a process has sent something or is gone.

        Returns those processes. `timeout_s`: infinity waits without end.
        """
        poll = select.poll()
        by_fd = {process.link.fileno(): process for process in processes if process is not None}
        poll.register(self._fd, select.POLLIN)
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        ready = [
            fd
            for fd, _ in poll.poll(
                None if timeout_s == math.inf else max(0, math.ceil(timeout_s * 1000))
            )
        ]
        if self._fd in ready:
            os.eventfd_read(self._fd)
            ready.remove(self._fd)
        return {by_fd[fd] for fd in ready}

    def close(self) -> None:
        """Closes it, when nobody rings or waits any more."""
        os.close(self._fd)


class Job:
    """A batch handed to an instance; settled once, whatever comes later is ignored."""

    __slots__ = ("_done", "_report", "over", "work")

    def __init__(
        self, work: Work, done: Callable[[], None], report: Callable[[Callable[[], None]], None]
    ) -> None:
        self.work = work
        self._done = done
        self._report = report
        self.over = False

    def finish(self, outputs: list[Array]) -> None:
        """Gives the outputs."""
        self._settle(lambda: self.work.finish(outputs))

    def fail(self, error: Exception) -> None:
        """Gives the error."""
        self._settle(lambda: self.work.fail(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self.over:
            self.over = True
            try:
                settle()
            except Exception:  # noqa: BLE001  # the worker outlives a bad batch
                _log.exception("A batch could not be settled. This is a bug.")
            self._report(self._done)


class Loss(msgspec.Struct, frozen=True):
    """Why the process is of no use any more; the job is not settled."""

    fate: Fate
    detail: str = ""


class Listener(Protocol):
    """The thread that keeps the process.

    A protocol, because that thread makes the exchange: importing it here would be a cycle.
    """

    @property
    def stopping(self) -> bool:
        """The run need not be waited for."""
        ...

    def pause(self) -> None:
        """The batch is given up but the process still runs it: nothing more is to be sent."""
        ...


class Exchange:
    """Runs a job on a process; belongs to the thread that has both."""

    def __init__(
        self,
        process: WorkerProcess,
        job: Job,
        timeout_s: float,
        memory_limit: int,
        bell: Bell,
        listener: Listener,
    ) -> None:
        self._process = process
        self._job = job
        self._bell = bell
        self._listener = listener
        self._timeout_s = timeout_s
        self._memory_limit = memory_limit

    def run(self) -> Loss | None:
        """Settles the job, or returns why the process is lost with the job in it.

        It returns None as well when the listener is stopping.
        """
        try:
            self._process.ask(self._job.work)
        except ProcessLost as error:
            return Loss(Fate.DIED, str(error))
        except Exception as error:  # noqa: BLE001
            # it belongs to the requests, not to the worker that runs them
            self._job.fail(
                error
                if isinstance(error, GatewayError)
                else ModelFailed(f"the batch could not be sent to a worker process: {error}")
            )
            return None
        loss = self._wait()
        if loss is not None or self._listener.stopping:
            return loss
        try:
            self._accept()
        except ProcessLost as error:
            return Loss(Fate.DIED, str(error))
        return None

    def _wait(self) -> Loss | None:
        """Waits until the process answers, is lost, or need not be waited for (None)."""
        began = time.monotonic()
        until = began + self._timeout_s
        deadline = self._job.work.deadline
        next_poll = began + _POLL_S if self._memory_limit else math.inf
        while not self._bell.wait(
            min(until, deadline, next_poll) - time.monotonic(), self._process
        ):
            if self._listener.stopping:
                return None
            now = time.monotonic()
            if now >= until:
                return Loss(
                    Fate.HUNG, f"took longer than {self._timeout_s:g} s for a batch: replaced"
                )
            if now >= next_poll:
                if (loss := self._outgrown()) is not None:
                    return loss
                next_poll = now + _POLL_S
            if now >= deadline:
                deadline = math.inf
                self._pause()
        return None

    def _outgrown(self) -> Loss | None:
        limit = self._memory_limit
        resident = self._process.resident_bytes()
        if resident <= 2 * limit:
            return None
        return Loss(
            Fate.OUTGREW,
            f"had {resident >> 20} MiB during a batch, its limit is {limit >> 20} MiB: replaced",
        )

    def _pause(self) -> None:
        self._listener.pause()
        self._job.fail(
            DeadlineExpired(
                "Deadline Exceeded: the last caller's time was over while a "
                "worker process ran the batch"
            )
        )

    def _accept(self) -> None:
        answer = self._process.answer()
        if isinstance(answer, Ran):
            self._job.finish(self._process.outputs(answer))
        elif isinstance(answer, Failed):
            self._job.fail(ModelFailed(answer.reason))
        else:
            raise ProcessLost("sent an answer to no request")
