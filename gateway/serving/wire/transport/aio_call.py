"""One call of grpc.aio as the services see it, and how it is ended. Runs in a serving process."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

import grpc
from grpc import aio

from gateway.serving.wire.transport.interface import CallEnded, Metadata, too_large

# plain numbers end at 15 in grpc.aio; UNAUTHENTICATED is 16
_STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}


class AioCall:
    """One call of either kind."""

    __slots__ = ("_context", "_limit", "deadline", "task")

    def __init__(self, context: Any, max_message_bytes: int) -> None:
        self._context = context
        self._limit = max_message_bytes
        remaining = context.time_remaining()
        self.deadline = math.inf if remaining is None else time.monotonic() + remaining
        self.task = asyncio.current_task()

    def metadata(self) -> Metadata:
        """The caller's metadata."""
        return tuple(self._context.invocation_metadata())

    def peer(self) -> str:
        """The caller's address."""
        peer: str = self._context.peer()
        return peer

    async def receive(self) -> bytes | None:
        """The caller's next message; None when it will send no more or has gone.

        Raises RequestTooLarge for one over the message limit; of one that the core refuses grpc.aio
        says nothing, it is None.
        """
        message = await self._context.read()
        if message is aio.EOF:
            return None
        if len(message) > self._limit:
            raise too_large(message, self._limit)
        received: bytes = message
        return received

    async def send(self, message: bytes) -> None:
        """Sends one message; returns when the core has taken it."""
        try:
            await self._context.write(message)
        except aio.InternalError:
            # the core has ended the call: the caller has gone, or the message was over the limit
            raise asyncio.CancelledError from None


async def end_call(context: Any, end: CallEnded) -> None:
    """Sends this status, and raises what ends the call for grpc.aio."""
    try:
        await context.abort(
            _STATUS.get(end.code, grpc.StatusCode.UNKNOWN), end.details, end.trailers
        )
    except aio.InternalError:
        # the core has ended the call itself: its caller has gone, or had sent too long a message
        raise asyncio.CancelledError from None  # what grpc.aio does not log
