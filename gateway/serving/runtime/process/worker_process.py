"""A serving process's side of one worker process: started, sent to, ended.

Everything here blocks and belongs to one thread.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from typing import Final, Self

import msgspec

from gateway.core.instance import Work
from gateway.core.plan import VersionPlan
from gateway.core.request import Array
from gateway.serving.runtime.process.arena import Arena, Extent, aligned
from gateway.serving.runtime.process.arena_tensors import Places, put, taken
from gateway.serving.runtime.process.worker_messages import (
    MESSAGE_BYTES,
    Answer,
    Ran,
    Run,
    decode_answer,
    encode,
    hand_over,
)

WORKER_ENTRY: Final = "gateway.serving.runtime.process.worker:serve"
"""What a worker process runs; named, not imported, because this process has no use for it."""

_DRIVER: Final = ("-P", "-X", "faulthandler", "-m", "gateway.serving.runtime.process.worker_main")
_LEFT_TO_THE_GATEWAY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# for a process that was hung up on; one whose run hangs does not end by that
_END_PATIENCE_S: Final = 1.0
_POLL_S: Final = 0.005


class ProcessLost(Exception):
    """The link's other end is gone, or sends what cannot be read."""


class WorkerProcess:
    """A process that was started, in whatever state; `end` it once."""

    def __init__(self, pid: int, link: socket.socket, arena: Arena) -> None:
        self.pid = pid
        self.link = link
        self._arena = arena
        self.opened = time.monotonic()
        self.started = self.opened
        self.batches = 0
        self._extent = Extent()
        self._inputs_end = 0
        self._packet = memoryview(bytearray(MESSAGE_BYTES))
        self._statm = _open_statm(pid)

    @classmethod
    def start(cls, plan: VersionPlan, entry: str) -> Self:
        """A fresh process that opens the plan; raises OSError where none can be started."""
        arena, arena_fd = Arena.create()
        try:
            hand_over(plan, arena)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                for end in (ours, theirs):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
                return cls(_spawn(entry, theirs.fileno(), arena_fd), ours, arena)
            except OSError:
                ours.close()
                raise
            finally:
                theirs.close()
        except OSError:
            arena.close()
            raise
        finally:
            os.close(arena_fd)

    def __repr__(self) -> str:
        return (
            f"<WorkerProcess {self.pid}, {self.batches} batches, {self.resident_bytes() >> 20} MiB>"
        )

    def ask(self, work: Work) -> None:
        """Writes the inputs and sends the batch off.

        Raises ProcessLost, ArenaFull, and what joining the inputs raises.
        """
        free = Places(self._arena)
        feed = work.collate(free.room)
        places, self._inputs_end = put(self._arena, feed.items(), free.end)
        packet = encode(Run(work.rows, work.wanted, places, aligned(self._inputs_end)))
        try:
            self.link.send(packet)
        except (BrokenPipeError, ConnectionResetError):
            raise ProcessLost from None

    def answer(self) -> Answer:
        """Its next message, waited for; raises ProcessLost."""
        try:
            size = self.link.recv_into(self._packet)
        except ConnectionResetError:
            size = 0
        if not size:
            raise ProcessLost
        try:
            answer: Answer = decode_answer(self._packet[:size])
        except msgspec.MsgspecError as error:
            raise ProcessLost(f"sent an invalid answer ({error})") from None
        return answer

    def outputs(self, ran: Ran) -> list[Array]:
        """The outputs, copied out of the arena; raises ProcessLost where they are not in it."""
        try:
            arrays = [taken(self._arena, place) for place in ran.outputs]
        except (ValueError, TypeError, KeyError) as error:
            raise ProcessLost(f"sent an invalid answer ({error})") from None
        self.batches += 1
        unused = self._extent.used(
            max([self._inputs_end, *(place.offset + place.size for place in ran.outputs)])
        )
        if unused is not None:
            self._arena.free(unused)
        return arrays

    def resident_bytes(self) -> int:
        """Its memory in use, the arena's touched part included; 0 where the kernel hides it."""
        if self._statm < 0:
            return 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(os.pread(self._statm, 200, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def kill(self) -> None:
        """Ends it at once, whatever it does; `end` is still to be called."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> str:
        """Hangs up, and kills the process where that does not help; returns how it ended, in words.

        It waits until the process is gone.
        """
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)
        status = _status(self.pid, _END_PATIENCE_S)
        if status is None:
            self.kill()
            os.waitpid(self.pid, 0)
            status = -signal.SIGKILL
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1
        self.link.close()
        self._arena.close()
        return _ending(status)


def _spawn(entry: str, link_fd: int, arena_fd: int) -> int:
    search = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109  # as text
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *_DRIVER, entry, str(link_fd), str(arena_fd)],
        # numpy's own threads would be started for nothing: ONNX Runtime has its own
        {"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": search},
        # A descriptor copied onto itself is inherited: the one way that no
        # other thread's child gets it too.
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, fd, fd) for fd in (link_fd, arena_fd)),
        ],
        # A signal to the whole process group must not end a child
        # before it has learnt to ignore it.
        setsigmask=_LEFT_TO_THE_GATEWAY,
    )


def _open_statm(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _status(pid: int, patience_s: float) -> int | None:
    """The exit status of a process of ours, as `subprocess` counts.

    None where it has not ended within the patience.
    """
    until = time.monotonic() + patience_s
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):  # Linux before 5.3, musl, some sandboxes
        pidfd = -1
    try:
        while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return None
            if pidfd >= 0:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll(left_s * 1000)
            else:
                time.sleep(min(left_s, _POLL_S))
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return os.waitstatus_to_exitcode(ended[1])


def _ending(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    with contextlib.suppress(ValueError):
        hint = " (the machine may have run out of memory)" if status == -signal.SIGKILL else ""
        return f"died with {signal.Signals(-status).name}{hint}"
    return f"died with signal {-status}"
