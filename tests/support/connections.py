"""Which process serves which connection, read from the kernel's tables."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import grpc

from tests.support.callers import until
from tests.support.running import RunningGateway

ESTABLISHED = "01"


def connect_to_each(
    gateway: RunningGateway, connect: Callable[[RunningGateway], grpc.Channel], each: int = 1
) -> dict[int, list[grpc.Channel]]:
    """Opens at least `each` channels to every serving process, and returns them by process id.

    The kernel chooses the process of a connection, so there may be more than asked for.
    """
    found: dict[int, list[grpc.Channel]] = {pid: [] for pid in gateway.serving_pids()}
    while min(map(len, found.values())) < each:
        before = client_ports(gateway.port)
        channel = connect(gateway)
        (port,) = client_ports(gateway.port) - before
        found[until(lambda port=port: owner_of(gateway.port, port, found))].append(channel)
    return found


def client_ports(server_port: int, pid: int | None = None) -> set[int]:
    """The local ports of a process's connections to a server on this machine; None: this one's."""
    own = _sockets_of(pid or os.getpid())
    return {
        local for local, remote, inode in _connections() if remote == server_port and inode in own
    }


def owner_of(server_port: int, client_port: int, pids: Iterable[int]) -> int:
    """The process that has accepted the connection; 0 while none has."""
    inode = next(
        (
            inode
            for local, remote, inode in _connections()
            if (local, remote) == (server_port, client_port)
        ),
        0,
    )
    return next((pid for pid in pids if inode and inode in _sockets_of(pid)), 0)


def _connections() -> Iterable[tuple[int, int, int]]:
    """Local port, remote port and inode of every established TCP connection."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == ESTABLISHED:
                    yield (
                        int(words[1].rpartition(":")[2], 16),
                        int(words[2].rpartition(":")[2], 16),
                        int(words[9]),
                    )


def _sockets_of(pid: int) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    found.add(int(match[1]))
    return found
