"""Starts serving processes, the first of them ahead of everything else.

A serving process spends a quarter of a second on imports before it can be told anything. So the first is started before the command line is
read, and imports while the main process does: it learns by its control link what it is to serve. Nothing slow may be imported here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Self

SERVING_ENTRY = "gateway.assembly.serving:run_serving_process"
"""The function that makes a whole serving process; named, not imported, because it stands above this."""

_DRIVER = "gateway.control.serving_main"
_LEFT_TO_THE_SUPERVISOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Spawned = tuple[int, socket.socket]
"""A process's id and the supervisor's end of its control link."""


class Spawner:
    """Starts fresh interpreters (gRPC does not survive a fork), each with an end of a socket pair and the statistics file.

    What was started ahead and never taken ends with the spawner. `entry`: ``MODULE:FUNCTION``, see `gateway.control.serving_main`.
    """

    def __init__(self, entry: str = SERVING_ENTRY) -> None:
        self._entry = entry
        self._statistics_fd = -1
        self._ahead: Spawned | None = None

    def __repr__(self) -> str:
        return f"<Spawner of {self._entry}, {f'pid {self._ahead[0]} ahead' if self._ahead else 'none ahead'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def statistics_fd(self) -> int:
        """The file of the statistics table that every process inherits; empty until the number of processes is known."""
        if self._statistics_fd < 0:
            self._statistics_fd = os.memfd_create("gateway-statistics", os.MFD_CLOEXEC)
        return self._statistics_fd

    def start_ahead(self) -> None:
        """Starts the process that the first `spawn` hands out."""
        if self._ahead is None:
            self._ahead = self._start()

    def spawn(self) -> Spawned:
        """A new process; the caller waits for its end. Raises OSError where none can be started."""
        spawned, self._ahead = self._ahead or self._start(), None
        return spawned

    def close(self) -> None:
        """Ends what nobody took, and gives up the statistics file."""
        if self._ahead is not None:
            pid, link = self._ahead
            self._ahead = None
            link.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self._statistics_fd >= 0:
            os.close(self._statistics_fd)
            self._statistics_fd = -1

    def _start(self) -> Spawned:
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (theirs.fileno(), self.statistics_fd)
            try:
                pid = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-P", "-m", _DRIVER, self._entry, *map(str, passed)],
                    {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109  # as text
                    # A descriptor copied onto itself is inherited: the one way that no other thread's child gets it too.
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in passed),
                    ],
                    # A signal to the whole process group must not end a child before it has learnt to ignore it.
                    setsigmask=_LEFT_TO_THE_SUPERVISOR,
                )
            except OSError:
                ours.close()
                raise
        return pid, ours
