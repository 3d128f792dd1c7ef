"""Connections of the raw client under asyncio, shared by the closed and the open loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc

from load_tests.http2 import Answer, Connection
from load_tests.payloads import METHOD

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

SETTLED_WITHIN_S = 10
STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Lane(asyncio.Protocol):
    """One connection to the server.

    `on_answers(lane, answers)` is called after each burst from the server, also without answers.
    """

    def __init__(
        self, connection: Connection, on_answers: Callable[[Lane, list[Answer]], None]
    ) -> None:
        self.connection = connection
        self._on_answers = on_answers
        self._transport: asyncio.Transport | None = None
        self.settled = asyncio.Event()
        self.fault = ""

    def __repr__(self) -> str:
        return f"<Lane: {self.connection!r}{', ' + self.fault if self.fault else ''}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the connection's preface."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Passes the calls that ended with these bytes to the listener.

        The connection is closed when the server sends what this client cannot read.
        """
        try:
            answers = self.connection.receive(data)
        except ConnectionError as fault:
            self.fault = str(fault)
            self.close()
            return
        if self.connection.settled:
            self.settled.set()
        self._on_answers(self, answers)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the calls in flight with UNAVAILABLE."""
        self._transport = None
        self.fault = self.fault or f"the server closed the connection ({exc or 'end of stream'})"
        self.settled.set()
        self._on_answers(self, self.connection.abandon())

    def flush(self) -> None:
        """Sends what the connection has gathered."""
        if self.connection.outgoing and self._transport is not None:
            self._transport.write(self.connection.take())

    def close(self) -> None:
        """Closes the connection; calls in flight end with UNAVAILABLE."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drops the connection at once, without a goodbye."""
        if self._transport is not None:
            self._transport.abort()


async def open_lanes(
    address: str,
    count: int,
    on_answers: Callable[[Lane, list[Answer]], None],
    *,
    timeout_ms: int = 0,
) -> list[Lane]:
    """Opens `count` lanes to HOST:PORT and waits until the server has sent its limits on each.

    ConnectionError is raised if it sends none.

    `timeout_ms` is the deadline that calls tell the server; 0: none.
    """
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    max_concurrency = []
    for _ in range(count):
        connection = Connection(address, METHOD, timeout_ms=timeout_ms)
        _, lane = await loop.create_connection(
            lambda connection=connection: Lane(connection, on_answers),  # type: ignore[misc]
            host,
            int(port),
        )
        max_concurrency.append(lane)
    try:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            for lane in max_concurrency:
                await lane.settled.wait()
    except TimeoutError:
        raise ConnectionError(
            f"{address} took connections but sent no HTTP/2 settings within {SETTLED_WITHIN_S} s"
        ) from None
    if faults := [lane.fault for lane in max_concurrency if lane.fault]:
        raise ConnectionError(f"{address}: {faults[0]}")
    return max_concurrency


def by_name(statuses: Counter[int]) -> dict[str, int]:
    """Counts of gRPC status codes under their names, ascending by code."""
    return {
        STATUS_NAMES.get(status, str(status)): count for status, count in sorted(statuses.items())
    }
