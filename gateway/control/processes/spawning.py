"""Starts the gateway's processes from the control process, the first serving process ahead.

A serving process spends a quarter of a second on imports before it can be given work. So the first
is started before the command line is read, and imports while the control process does: it learns by
its control link what it is to serve. Nothing slow may be imported here.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Self

from gateway.ipc.shared_files import SharedFiles

SERVING_ENTRY = "gateway.assembly.serving_process:run_serving_process"
"""The function that makes a whole serving process; named, because it may not be imported here."""

TELEMETRY_ENTRY = "gateway.assembly.telemetry_process:run_telemetry_process"
"""The function that makes the telemetry process."""

_DRIVER = "gateway.ipc.child_main"
_TELEMETRY_DRIVER = "gateway.ipc.telemetry_main"
_LEFT_TO_THE_SUPERVISOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Spawned = tuple[int, socket.socket]
"""A process's id and the supervisor's end of its control link."""


class Spawner:
    """Starts fresh interpreters, each with an end of a socket pair and the shared files.

    They are fresh because gRPC does not survive a fork. A process that was started ahead and never
    taken ends with the spawner. `entry`: ``MODULE:FUNCTION``, see `gateway.ipc.child_main`.
    """

    def __init__(self, entry: str = SERVING_ENTRY) -> None:
        self._entry = entry
        self._files: SharedFiles | None = None
        self._ahead: Spawned | None = None

    def __repr__(self) -> str:
        return (
            f"<Spawner of {self._entry}, "
            f"{f'pid {self._ahead[0]} ahead' if self._ahead else 'none ahead'}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files(self) -> SharedFiles:
        """The files that every process inherits; of size 0 until the process count is known."""
        if self._files is None:
            self._files = SharedFiles.create()
        return self._files

    def start_ahead(self) -> None:
        """Starts the process that the first `spawn` returns."""
        if self._ahead is None:
            self._ahead = self._start(self._entry)

    def spawn(self) -> Spawned:
        """A new process; the caller waits for its end. Raises OSError where none can be started."""
        spawned = self._ahead or self._start(self._entry)
        self._ahead = None
        return spawned

    def spawn_telemetry(self, listening: Iterable[socket.socket] = ()) -> Spawned:
        """A new telemetry process, which inherits these sockets under their numbers too.

        Raises OSError where none can be started.
        """
        return self._start(
            TELEMETRY_ENTRY, _TELEMETRY_DRIVER, [each.fileno() for each in listening]
        )

    def close(self) -> None:
        """Ends a process that was never taken, and closes the shared files."""
        if self._ahead is not None:
            pid, link = self._ahead
            self._ahead = None
            link.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self._files is not None:
            self._files.close()
            self._files = None

    def _start(self, entry: str, driver: str = _DRIVER, besides: Iterable[int] = ()) -> Spawned:
        ours, theirs = socket.socketpair()
        with theirs:
            passed = (theirs.fileno(), *self.files)
            try:
                pid = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-P", "-m", driver, entry, *map(str, passed)],
                    _environment(),
                    # A descriptor copied onto itself is inherited: the one way that no other
                    # thread's child gets it too.
                    file_actions=[
                        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                        *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in (*passed, *besides)),
                    ],
                    # A signal to the whole process group must not end a child
                    # before it has learnt to ignore it.
                    setsigmask=_LEFT_TO_THE_SUPERVISOR,
                )
            except OSError:
                ours.close()
                raise
        return pid, ours


def _environment() -> dict[str, str]:
    """This process's environment, with the import path that this process has."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109  # as text
    return {**os.environ, "PYTHONPATH": path}
