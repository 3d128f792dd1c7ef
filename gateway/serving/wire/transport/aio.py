"""The transport over grpc.aio: slower, and made of grpcio's public parts only.

Runs in a serving process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
from grpc import aio

from gateway.core.errors import RequestTooLarge
from gateway.core.grpc_codes import RESOURCE_EXHAUSTED
from gateway.serving.wire.call_errors import ending, unknown_method, without_message
from gateway.serving.wire.transport.aio_call import AioCall, end_call
from gateway.serving.wire.transport.graceful_stop import until_finished
from gateway.serving.wire.transport.interface import (
    CallEnded,
    Methods,
    Refused,
    StreamMethod,
    TransportOptions,
    UnaryMethod,
    channel_arguments,
)
from gateway.serving.wire.transport.tls import server_credentials

_STOPPED_S: Final = 10.0  # what cancelled methods may take to end
_T = TypeVar("_T")
_GRPC_LOG: Final = logging.getLogger("grpc._cython.cygrpc")
_log = logging.getLogger(__name__)


class AioServer:
    """Serves `methods` on the running event loop.

    `open` are the calls received whose answer has not left.
    """

    def __init__(self, methods: Methods, options: TransportOptions) -> None:
        self._methods = methods
        self._options = options
        self.open: set[AioCall] = set()
        self._stopping = False
        self._stopped = False
        self._unanswered = _Unanswered()
        self._server = aio.server(
            handlers=(_Handlers(self, methods),), options=channel_arguments(options)
        )

    async def start(self) -> int:
        """Listens, and returns the port of the first address.

        Raises OSError where an address cannot be had, ValueError for unusable TLS files.
        """
        credentials = server_credentials(self._options)
        ports = [self._add_port(address, credentials) for address in self._options.addresses]
        _GRPC_LOG.addFilter(self._unanswered)
        await self._server.start()
        return ports[0]

    def _add_port(self, address: str, credentials: Any) -> int:
        try:
            port: int = (
                self._server.add_insecure_port(address)
                if credentials is None
                else self._server.add_secure_port(address, credentials)
            )
        except RuntimeError:
            port = 0
        if port == 0:
            raise OSError(f"cannot listen on {address}")
        return port

    async def stop(self, grace_s: float) -> None:
        """Accepts no more, answers what was accepted, and closes the connections.

        What is not answered after `grace_s` seconds is cancelled.
        """
        self._stopping = True
        # longer than it will take: a second stop, below, has a grace of 0
        finished = asyncio.ensure_future(self._server.stop(grace_s + _STOPPED_S))
        await until_finished(finished, lambda: self.open, grace_s)
        if not finished.done():
            if self.open:
                _log.warning(
                    "%d calls were not finished within the grace of %g s and are cancelled",
                    len(self.open),
                    grace_s,
                )
            self._cancel_methods()
            await self._server.stop(0)
        await finished
        if left := self._cancel_methods():
            await asyncio.wait(left, timeout=_STOPPED_S)
        _GRPC_LOG.removeFilter(self._unanswered)
        self._stopped = True

    def _cancel_methods(self) -> list[asyncio.Task[Any]]:
        tasks = [call.task for call in self.open if call.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    async def serve_unary(
        self, method: UnaryMethod, context: Any, refused: Refused | None = None
    ) -> bytes:
        """Runs one call with one message each way; `refused`: as in `Methods`."""

        async def answer(call: AioCall) -> bytes:
            message = await _received(call, refused)
            if message is None:
                raise without_message()
            reply = await method(call, message)
            if type(reply) is not bytes:  # grpc.aio would send a str
                raise TypeError(f"the method answered with {type(reply).__name__}, not bytes")
            # the core's own text; of the core's refusal grpc.aio would log a bug
            if len(reply) > (limit := self._options.max_message_bytes):
                raise CallEnded(
                    RESOURCE_EXHAUSTED,
                    f"SERVER: Sent message larger than max ({len(reply)} vs. {limit})",
                )
            return reply

        return await self._run(answer, context)

    async def serve_stream(self, method: StreamMethod, context: Any) -> None:
        """Runs one call with many messages either way."""
        await self._run(method, context)

    async def _run(self, method: Callable[[AioCall], Awaitable[_T]], context: Any) -> _T:
        call = AioCall(context, self._options.max_message_bytes)
        self.open.add(call)
        context.add_done_callback(lambda _: self.open.discard(call))  # once its answer has left
        try:
            return await method(call)
        except (Exception, asyncio.CancelledError) as error:
            if (
                isinstance(error, asyncio.CancelledError)
                and call.task is not None
                and call.task.cancelling()
            ):
                raise  # the caller has gone, or the grace is over: the core knows
            await end_call(context, ending(error))
            raise  # for the type checker

    def __repr__(self) -> str:
        state = "stopping" if self._stopping else "serving"
        if self._stopped:
            state = "stopped"
        return (
            f"<AioServer {', '.join(self._options.addresses)} {state}, {len(self.open)} calls open>"
        )


class _Unanswered(logging.Filter):
    """Drops what grpc.aio logs about an answer whose caller has gone meanwhile.

    It logs that as an error with a traceback.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], aio.InternalError))


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """Finds the handler of a path.

    Registered methods would make grpc.aio's accept loop slower, by a future each (1.84 and later).
    """

    def __init__(self, server: AioServer, methods: Methods) -> None:
        self._handlers = {
            path: _unary_handler(server, method, methods.refused.get(path))
            for path, method in methods.unary.items()
        }
        self._handlers |= {
            path: _stream_handler(server, method) for path, method in methods.stream.items()
        }
        self._server = server

    def service(self, handler_call_details: Any) -> Any:
        """The handler for this call."""
        path = handler_call_details.method
        return self._handlers.get(path) or _stream_handler(
            self._server, functools.partial(unknown_method, path)
        )


async def _received(call: AioCall, refused: Refused | None) -> bytes | None:
    try:
        return await call.receive()
    except RequestTooLarge as error:
        if refused is not None:
            refused(call, error)
        raise


def _unary_handler(server: AioServer, method: UnaryMethod, refused: Refused | None) -> Any:
    """A stream-unary handler, so that a call that ends without a message can be answered.

    The reply leaves in one batch all the same.
    """

    # grpc.aio asks for a plain coroutine function
    async def serve(_messages: object, context: Any) -> bytes:
        return await server.serve_unary(method, context, refused)

    return grpc.stream_unary_rpc_method_handler(serve)


def _stream_handler(server: AioServer, method: StreamMethod) -> Any:
    async def serve(_messages: object, context: Any) -> None:
        await server.serve_stream(method, context)

    return grpc.stream_stream_rpc_method_handler(serve)
