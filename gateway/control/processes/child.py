"""A child of the control process, whose end is awaited on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading


class Child:
    """A started child by its process id, which can be awaited and killed.

    It is never mistaken for another process that got its id: it stays a zombie until the event loop
    has its status, so the id is its own for as long as this sends signals.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = _open_pidfd(pid)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._reap)
        else:
            threading.Thread(target=self._watch, daemon=True, name=f"child-{pid}").start()

    def __repr__(self) -> str:
        return f"<Child {self.pid} {self._status.result() if self._status.done() else 'running'}>"

    async def wait(self) -> int:
        """Returns its exit status when it has ended; -N: signal N ended it."""
        return await asyncio.shield(self._status)

    def kill(self) -> None:
        """Kills the process at once, if it has not ended."""
        if not self._status.done():
            os.kill(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        _, status = os.waitpid(self.pid, 0)
        self._status.set_result(os.waitstatus_to_exitcode(status))

    def _watch(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no task waits any more
            self._loop.call_soon_threadsafe(self._reap)


def how_it_ended(pid: int, status: int) -> str:
    """How a process ended, as the rest of a sentence about it; `status` as `Child.wait` has it."""
    if status >= 0:
        return f"ended with exit status {status} (pid {pid})"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # one without a name, such as those of real time
        name = f"signal {-status}"
    return f"died with {name} (pid {pid})"


def _open_pidfd(pid: int) -> int:
    """A pidfd of the process; -1: the kernel or the C library has none.

    That is so in Linux before 5.3, with musl, and in some sandboxes.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
