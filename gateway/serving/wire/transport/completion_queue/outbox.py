"""Replies leave together. Runs in a serving process.

gRPC's core sends each reply with a `sendmsg` of its own (12 us). With TCP_CORK around the replies
of one turn of the loop their packets wait for each other, and each send costs 7-8 us. A socket is
found by its peer's address among this process's file descriptors. It is corked only while replies
are being sent, never longer: pings and window updates on it would wait 200 ms.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

_REPLIES_PER_SOCKET: Final = 4  # fewer are not worth two system calls a socket
_SAMPLE: Final = 4  # every so many replies one's peer is asked for: that takes 1 us
_REMEMBERED_TURNS: Final = 8  # a peer counts as busy this long after it was last met
_SCAN_SHARE: Final = 0.02  # part of the time that looking for sockets may take


class Outbox:
    """Collects the last batches of calls and starts them in one go, at the loop's next turn.

    `leaving` counts the batches that the core has not reported done, whether sent or given up
    because their caller had gone.
    """

    def __init__(self, *, corks: Corks | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._corks = corks
        self._batches: list[tuple[Any, tuple[Any, ...]]] = []
        self._tag = self._left
        self.leaving = 0
        self._busy: dict[bytes, int] = {}
        self._turn = 0
        self._closed = False

    def send(self, call: Any, operations: tuple[Any, ...]) -> None:
        """Starts this batch at the loop's next turn."""
        if not self._batches:
            self._loop.call_soon(self.flush)
        self._batches.append((call, operations))
        self.leaving += 1

    def _left(self, _event: Any) -> None:
        self.leaving -= 1

    def close(self) -> None:
        """Sends nothing from here on: the core's server is gone, and so are the callers."""
        self._closed = True
        if self._corks is not None:
            self._corks.close()

    def flush(self) -> None:
        """Starts all that was collected."""
        batches = self._batches
        self._batches = []
        if self._closed:
            return
        corked = (
            self._corks.cork(self._busy_peers(batches))
            if self._corks is not None and len(batches) >= _REPLIES_PER_SOCKET
            else []
        )
        tag = self._tag
        try:
            for call, operations in batches:
                call.start_server_batch(operations, tag)
        finally:
            if corked and self._corks is not None:
                self._corks.uncork(corked)

    def _busy_peers(self, batches: list[tuple[Any, tuple[Any, ...]]]) -> Iterable[bytes]:
        """The peers most replies go to, by sample; none where corks do not pay for so many."""
        self._turn += 1
        busy = self._busy
        for call, _ in batches[::_SAMPLE]:
            busy[call.peer()] = self._turn
        if self._turn % _REMEMBERED_TURNS == 0 or len(busy) * _REPLIES_PER_SOCKET > len(batches):
            oldest = self._turn - _REMEMBERED_TURNS
            busy = {peer: turn for peer, turn in busy.items() if turn > oldest}
            self._busy = busy
        return busy if len(busy) * _REPLIES_PER_SOCKET <= len(batches) else ()


class Corks:
    """The TCP sockets of this process by their peers' addresses.

    The sockets belong to gRPC's core, which may close one at any time; its number may then be
    another's. That costs a system call or corks a stranger for a moment, and is mended at the next
    poll: so nothing here fails, and no socket object here ever closes its number.
    """

    def __init__(self) -> None:
        self._sockets: dict[bytes, socket.socket] = {}
        self._next_scan = 0.0

    def cork(self, peers: Iterable[bytes]) -> list[socket.socket]:
        """Corks the sockets of these peers, as far as they are known; returns those to uncork."""
        wanted = list(peers)
        if time.monotonic() >= self._next_scan and not all(
            peer in self._sockets for peer in wanted
        ):
            # before anything is corked: it lets go of the sockets it knew, and who is let go of
            # while corked stays corked
            self._scan()
        corked = []
        for peer in wanted:
            found = self._sockets.get(peer)
            if found is not None:
                try:
                    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                    corked.append(found)
                except OSError:
                    self._sockets.pop(peer).detach()
        return corked

    def uncork(self, corked: Iterable[socket.socket]) -> None:
        """Lets the packets go."""
        for found in corked:
            try:
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            except OSError:  # closed meanwhile
                continue

    def close(self) -> None:
        """Lets go of all sockets without closing them."""
        for found in self._sockets.values():
            found.detach()
        self._sockets = {}

    def _scan(self) -> None:
        """Looks at every file descriptor, which takes a fiftieth of the time at most."""
        began = time.monotonic()
        self.close()
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names are all that is needed
            try:
                found = socket.socket(fileno=int(name))
            except OSError:  # no socket
                continue
            try:
                peer = peer_text(found) if found.type == socket.SOCK_STREAM else ""
            except OSError:  # not connected
                peer = ""
            if peer:
                self._sockets[peer.encode()] = found
            else:
                found.detach()
        ended = time.monotonic()
        self._next_scan = ended + (ended - began) / _SCAN_SHARE

    def __repr__(self) -> str:
        return f"<Corks {len(self._sockets)} sockets>"


def peer_text(connected: socket.socket) -> str:
    """The peer's address as gRPC's core writes it; empty for what is not TCP."""
    if connected.family == socket.AF_INET:
        host, port = connected.getpeername()
        return f"ipv4:{host}:{port}"
    if connected.family == socket.AF_INET6:
        host, port = connected.getpeername()[:2]
        if host.startswith("::ffff:"):
            return f"ipv4:{host[7:]}:{port}"
        return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"
    return ""
