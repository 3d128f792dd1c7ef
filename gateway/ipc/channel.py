"""One end of a link between the control process and another one: whole messages in and out."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from gateway.ipc.framing import LENGTH, decode, encode


class Channel:
    """One end of a link, owned by the process that opened it.

    Sending never waits, and does nothing after the other end has gone. What is sent in one turn of
    the event loop leaves in one write: a thousand models are loaded by many small messages.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames: list[bytes] = []

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Takes over one end of a socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def send(self, message: object) -> None:
        """Sends one message."""
        self.send_encoded(encode(message))

    def send_encoded(self, frame: bytes) -> None:
        """Sends a frame that `encode` made, so that a message to many is pickled once."""
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._write)
        self._frames.append(frame)

    def _write(self) -> None:
        if self._frames and not self._writer.is_closing():
            self._writer.write(b"".join(self._frames))
        self._frames = []

    async def receive(self) -> Any:
        """The next message; None when the other end is gone."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def flush(self) -> None:
        """Waits until the kernel has all that was sent, or the other end is gone."""
        self._write()
        try:
            self._writer.transport.set_write_buffer_limits(high=0)
            await self._writer.drain()
        except ConnectionError:
            pass

    def close(self) -> None:
        """Closes this end when all that was sent has left; the other sees the end of the link."""
        self._write()
        self._writer.close()
