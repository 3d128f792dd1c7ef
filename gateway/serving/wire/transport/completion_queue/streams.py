"""One streaming call over the completion queue, in a serving process."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from grpc._cython import cygrpc

from gateway.core.grpc_codes import DEADLINE_EXCEEDED, OK
from gateway.core.waiter import Waiter
from gateway.serving.wire.call_errors import ending
from gateway.serving.wire.transport.completion_queue.open_calls import OpenCalls, monotonic_deadline
from gateway.serving.wire.transport.interface import (
    Metadata,
    Refused,
    StreamMethod,
    refused_by_core,
    too_large,
)


class BidirectionalCall:
    """A call with many messages either way; its method runs as a Task.

    At most one `receive` and one `send` are under way at a time.
    """

    __slots__ = (
        "_call",
        "_metadata",
        "_open",
        "_refused",
        "_started",
        "_task",
        "deadline",
        "ended",
        "tick",
        "watched",
    )

    def __init__(
        self,
        open_calls: OpenCalls,
        event: Any,
        method: StreamMethod,
        refused: Refused | None = None,
    ) -> None:
        """`refused`: is told of a message that the core refuses, which ends the call."""
        self._refused = refused
        self._open = open_calls
        self._call = event.call
        self._metadata = event.invocation_metadata
        self.deadline = monotonic_deadline(event.call_details.deadline)
        self._started = False
        self.ended = False
        self.tick = open_calls.tick
        self.watched = True
        self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), self._closed)
        open_calls.members.add(self)
        self._task = asyncio.get_running_loop().create_task(self._serve(method))

    def metadata(self) -> Metadata:
        """The caller's metadata."""
        return tuple(self._metadata)

    def peer(self) -> str:
        """The caller's address."""
        peer: str = self._call.peer().decode()
        return peer

    def watch(self) -> None:
        """Does nothing: streams are watched from their start."""

    def give_place(self) -> None:
        """Does nothing: a stream gave its place when it came."""

    def expire(self) -> None:
        """Answers DEADLINE_EXCEEDED and cancels the method: the caller's time is over."""
        self._end(DEADLINE_EXCEEDED, "the deadline passed before the stream ended")
        self.cancel()

    def cancel(self) -> None:
        """Cancels the method."""
        self._task.cancel()

    async def receive(self) -> bytes | None:
        """The caller's next message; None when it will send no more or has gone.

        Raises RequestTooLarge for one over the message limit.
        """
        done: Waiter[Any] = Waiter()
        self._begin((cygrpc.ReceiveMessageOperation(0),), functools.partial(self._received, done))
        event = await done
        message: bytes | None = event.batch_operations[0].message()
        limit = self._open.max_message_bytes
        if message is not None and len(message) > limit:
            raise too_large(message, limit)
        return message

    async def send(self, message: bytes) -> None:
        """Sends one message; returns when the core has taken it."""
        operation = cygrpc.SendMessageOperation(message, 0)
        await self._batch(
            (operation,)
            if self._started
            else (cygrpc.SendInitialMetadataOperation((), 0), operation)
        )

    def _received(self, done: Waiter[Any], event: Any) -> None:
        # told here, for the method may have been cancelled: the refusal has ended the call
        if not event.success and self._refused is not None:
            self._refused(self, refused_by_core(self._open.max_message_bytes))
        done.settle(event)

    async def _batch(self, operations: tuple[Any, ...]) -> Any:
        done: Waiter[Any] = Waiter()
        self._begin(operations, done.settle)
        return await done

    def _begin(self, operations: tuple[Any, ...], tag: Callable[[Any], None]) -> None:
        if self.ended or self._open.destroyed:
            raise asyncio.CancelledError
        if isinstance(operations[0], cygrpc.SendInitialMetadataOperation):
            self._started = True
        self._call.start_server_batch(operations, tag)

    async def _serve(self, method: StreamMethod) -> None:
        try:
            await method(self)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            # the caller gets it, and it is logged where it is a bug
            end = ending(error)
            self._end(end.code, end.details, end.trailers)
        else:
            self._end(OK, "")

    def _closed(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self.ended = True
            self._open.members.discard(self)
            self.cancel()

    def _end(self, code: int, details: str, trailers: Metadata = ()) -> None:
        if self.ended:
            return
        self.ended = True
        open_calls = self._open
        open_calls.members.discard(self)
        if open_calls.destroyed:
            return
        status = cygrpc.SendStatusFromServerOperation(trailers, code, details.encode(), 0)
        open_calls.outbox.send(
            self._call,
            (status,) if self._started else (cygrpc.SendInitialMetadataOperation((), 0), status),
        )
