"""The event stream of the telemetry process: one message a second to every page that is open.

A page that does not read fast enough is cut off, so that what waits for it stays bounded.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Self

from aiohttp import web

from gateway.telemetry.live.json_document import Document
from gateway.telemetry.live.live_state import TICK_S, LiveState

MOST_CLIENTS: Final = 64
MOST_UNREAD: Final = 8
"""Messages, of which there is one a second."""
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

_log = logging.getLogger(__name__)


class _Client:
    """A reader of the stream.

    It has a queue of its own, so that nobody waits for another.
    """

    def __init__(self, transport: asyncio.BaseTransport | None) -> None:
        self._transport = transport
        self.unread: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, message: bytes) -> bool:
        """Queues a message; False where too many are unread already, then the reader is cut off."""
        if self.unread.qsize() >= MOST_UNREAD:
            self.end()
            if isinstance(self._transport, asyncio.WriteTransport):
                self._transport.abort()
            return False
        self.unread.put_nowait(message)
        return True

    def end(self) -> None:
        """Ends the reader's stream behind what is queued."""
        self.unread.put_nowait(None)


class LiveStream:
    """Ticks the state and sends it to those who read the stream; `async with` starts and stops it.

    `end` is for `on_shutdown` of the application: a server that stops waits for the answers it has
    begun.
    """

    def __init__(self, live: LiveState) -> None:
        self.live = live
        self._clients: set[_Client] = set()
        self._sent: Document | None = None
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.live.tick()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.end()

    async def end(self, _: object = None) -> None:
        """Ends the stream of everybody who reads it; later readers are refused."""
        self._ended = True
        for client in self._clients:
            client.end()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET: a `state` event with the whole JSON, then an `update` event every second.

        The update holds what has changed in it.
        """
        if self._ended:
            return _refused("the gateway is stopping")
        if len(self._clients) >= MOST_CLIENTS:
            return _refused(f"{MOST_CLIENTS} clients read the stream already")
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        client = _Client(request.transport)
        if self._sent is None:
            self._sent = self.live.document()
        client.send(b"retry: 2000\n" + _event("state", self._sent.text()))
        self._clients.add(client)
        try:
            while (message := await client.unread.get()) is not None:
                await response.write(message)
        except ConnectionError:
            pass  # it has left, or was cut off
        finally:
            self._clients.discard(client)
        return response

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            at = max(at + TICK_S, loop.time())  # a tick that came late is not made up for
            await asyncio.sleep(at - loop.time())
            try:
                self._tick()
            except Exception:  # noqa: BLE001
                # what is shown may stand still; the streams must not end silently
                _log.exception("the live page could not be brought up to date")

    def _tick(self) -> None:
        self.live.tick()
        if not self._clients:
            self._sent = None
            return
        document = self.live.document()
        message = _event(
            "update", document.changes(self._sent) if self._sent is not None else document.text()
        )
        self._sent = document
        for client in [client for client in self._clients if not client.send(message)]:
            self._clients.discard(client)

    def __repr__(self) -> str:
        return f"<LiveStream {len(self._clients)} clients>"


def _refused(why: str) -> web.Response:
    return web.json_response({"error": why}, status=503, headers={"Retry-After": "5"})


def _event(kind: str, text: str) -> bytes:
    return f"event: {kind}\ndata: {text}\n\n".encode(errors="replace")
