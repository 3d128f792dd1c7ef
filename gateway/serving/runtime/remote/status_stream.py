"""What a server reports of its own health: one `grpc.health.v1` Watch call.

Runs in a serving process, in a thread of its own, because grpcio's synchronous streams can only be
waited for; it sleeps for as long as nothing changes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from gateway.serving.runtime.remote.grpc_channel import Channel

WATCH: Final = "/grpc.health.v1.Health/Watch"
SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING


class StatusStream:
    """Reports what a server sends of one service's health, on the event loop.

    `on_status` gets each status, a number of `HealthCheckResponse.ServingStatus`. `on_end` gets the
    `grpc.StatusCode` when nothing more will come, once, and not after `close`.
    """

    def __init__(
        self,
        channel: Channel,
        service: str,
        metadata: Sequence[tuple[str, str]],
        on_status: Callable[[int], None],
        on_end: Callable[[Any], None],
    ) -> None:
        self._on_status = on_status
        self._on_end = on_end
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._call = channel.stream(WATCH)(
            HealthCheckRequest(service=service).SerializeToString(), metadata=metadata
        )
        threading.Thread(
            target=self._read, name=f"health of {channel.address}", daemon=True
        ).start()

    def close(self) -> None:
        """Reports nothing more, and lets the call and its thread go."""
        self._closed = True
        self._call.cancel()

    def _read(self) -> None:
        # a server that ends the stream without an error is about to leave
        code = grpc.StatusCode.UNAVAILABLE
        try:
            for message in self._call:
                self._report(self._on_status, HealthCheckResponse.FromString(message).status)
        except grpc.RpcError as error:
            code = error.code()
        except DecodeError:
            self._call.cancel()
            code = grpc.StatusCode.UNIMPLEMENTED  # whatever this is, it is no health service
        self._report(self._on_end, code)

    def _report(self, callback: Callable[[Any], None], value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._unless_closed, callback, value)
        except RuntimeError:  # the loop is closed: the listener is gone
            self._call.cancel()

    def _unless_closed(self, callback: Callable[[Any], None], value: Any) -> None:
        if not self._closed:
            callback(value)
