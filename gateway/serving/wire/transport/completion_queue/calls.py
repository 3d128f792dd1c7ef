"""One unary call, from its slot to its status. Runs in a serving process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpc._cython import cygrpc

from gateway.core.errors import RequestTooLarge
from gateway.core.grpc_codes import DEADLINE_EXCEEDED
from gateway.core.waiter import Driven
from gateway.serving.wire.call_errors import ending, without_message
from gateway.serving.wire.transport.completion_queue.open_calls import OpenCalls, monotonic_deadline
from gateway.serving.wire.transport.interface import (
    Metadata,
    Refused,
    UnaryMethod,
    refused_by_core,
    too_large,
)

# Operations that carry no metadata and no details own no memory of the core and may be shared;
# others must be made anew for each call.
_INITIAL_METADATA = cygrpc.SendInitialMetadataOperation((), 0)
_OK = cygrpc.SendStatusFromServerOperation((), cygrpc.StatusCode.ok, b"", 0)


class UnaryCall(Driven):
    """A call with one message each way; the method's coroutine is driven by hand.

    The operation that reports the call's end (`ReceiveCloseOnServer`) travels in the batch that
    sends the reply: one event and 3-4 us less than in a batch of its own. The price is that a
    cancellation is not seen meanwhile, so a call that has waited for a while is watched after all
    (`watch`, from the server's one timer). That operation then also reports cancellations that came
    earlier.
    """

    __slots__ = (
        "_call",
        "_metadata",
        "_method",
        "_open",
        "_read",
        "_refused",
        "deadline",
        "ended",
        "tick",
        "watched",
    )

    def __init__(
        self,
        open_calls: OpenCalls,
        event: Any,
        method: UnaryMethod,
        read: Callable[[], None] | None = None,
        refused: Refused | None = None,
    ) -> None:
        """`read` is called once, when another call may be received in the place of this one.

        That is when its message has been dealt with, or has been waited for too long.
        `refused`: as in `Methods`.
        """
        self._open = open_calls
        self._call = event.call
        self._method = method
        self._read = read
        self._refused = refused
        self._metadata = event.invocation_metadata
        self.deadline = monotonic_deadline(event.call_details.deadline)
        self.tick = open_calls.tick
        self.watched = False
        self.ended = False
        self._task = None
        self._waiter = None
        open_calls.members.add(self)
        self._call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), self._received)

    def metadata(self) -> Metadata:
        """The caller's metadata."""
        return tuple(self._metadata)

    def peer(self) -> str:
        """The caller's address."""
        peer: str = self._call.peer().decode()
        return peer

    def watch(self) -> None:
        """Has the core report a cancellation from now on."""
        if not self.watched:
            self.watched = True
            self._call.start_server_batch((cygrpc.ReceiveCloseOnServerOperation(0),), self._closed)

    def expire(self) -> None:
        """Answers DEADLINE_EXCEEDED and cancels the method: the caller's time is over."""
        self._end(DEADLINE_EXCEEDED, "the deadline passed before the answer was ready")
        self.cancel()

    def _received(self, event: Any) -> None:
        message = event.batch_operations[0].message()
        try:
            if message is None:
                self._without_message(refused=not event.success)
            elif self.ended:  # its time was over before the message came
                return
            elif len(message) > self._open.max_message_bytes:
                self._refuse(too_large(message, self._open.max_message_bytes))
            else:
                self.start(self._method(self, message))
        finally:  # a place that is lost is lost for good
            self.give_place()

    def _without_message(self, *, refused: bool) -> None:
        """The client ended its side without a message, has gone, or the core refused what came.

        In the last two cases nobody takes the answer.
        """
        if refused:
            self._refuse(refused_by_core(self._open.max_message_bytes))
        else:
            end = without_message()
            self._end(end.code, end.details)

    def _refuse(self, error: RequestTooLarge) -> None:
        if self._refused is not None:
            self._refused(self, error)
        self._failed(error)

    def give_place(self) -> None:
        """Lets another call be received in its place, if it still holds one.

        Its message has been dealt with, or is long in coming.
        """
        read = self._read
        self._read = None
        if read is not None:
            read()

    def _closed(self, event: Any) -> None:
        if event.batch_operations[0].cancelled():
            self.ended = True  # no client is there to take an answer
            self._open.members.discard(self)
            self.cancel()

    def _finished(self, value: bytes) -> None:
        if self.ended:
            return
        if type(value) is not bytes:
            self._failed(TypeError(f"the method answered with {type(value).__name__}, not bytes"))
            return
        self.ended = True
        open_calls = self._open
        open_calls.members.discard(self)
        if open_calls.destroyed:
            return
        if self.watched:
            operations: tuple[Any, ...] = (
                _INITIAL_METADATA,
                cygrpc.SendMessageOperation(value, 0),
                _OK,
            )
        else:
            operations = (
                _INITIAL_METADATA,
                cygrpc.SendMessageOperation(value, 0),
                _OK,
                cygrpc.ReceiveCloseOnServerOperation(0),
            )
        open_calls.outbox.send(self._call, operations)

    def _failed(self, error: BaseException) -> None:
        end = ending(error)
        self._end(end.code, end.details, end.trailers)
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            raise error

    def _end(self, code: int, details: str, trailers: Metadata = ()) -> None:
        if self.ended:
            return
        self.ended = True
        open_calls = self._open
        open_calls.members.discard(self)
        if open_calls.destroyed:
            return
        status = cygrpc.SendStatusFromServerOperation(trailers, code, details.encode(), 0)
        operations: tuple[Any, ...] = (cygrpc.SendInitialMetadataOperation((), 0), status)
        open_calls.outbox.send(
            self._call,
            operations if self.watched else (*operations, cygrpc.ReceiveCloseOnServerOperation(0)),
        )
