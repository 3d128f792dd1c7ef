"""What a server reports of its own health: one `grpc.health.v1` Watch call.

Runs in a serving process, in a thread of its own, because grpcio's synchronous streams can only be
waited for; it sleeps for as long as nothing changes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from gateway.serving.runtime.remote.grpc_channel import Channel

WATCH: Final = "/grpc.health.v1.Health/Watch"
SERVING: Final = HealthCheckResponse.SERVING
NOT_SERVING: Final = HealthCheckResponse.NOT_SERVING


class Listener(Protocol):
    """Called on the event loop with what the server reports."""

    def heard(self, stream: StatusStream, status: int) -> None:
        """The health now: a number of `HealthCheckResponse.ServingStatus`."""
        ...

    def ended(self, stream: StatusStream, code: Any) -> None:
        """Nothing more will come; the `grpc.StatusCode` is the reason.

        It is called once, and not after `close`.
        """
        ...


class StatusStream:
    """Calls the listener with what the server reports of one service."""

    def __init__(
        self,
        channel: Channel,
        service: str,
        metadata: Sequence[tuple[str, str]],
        listener: Listener,
    ) -> None:
        self._listener: Listener | None = listener
        self._loop = asyncio.get_running_loop()
        self._call = channel.stream(WATCH)(
            HealthCheckRequest(service=service).SerializeToString(), metadata=metadata
        )
        threading.Thread(
            target=self._read, name=f"health of {channel.address}", daemon=True
        ).start()

    def close(self) -> None:
        """Calls the listener no more, and lets the call and its thread go."""
        self._listener = None
        self._call.cancel()

    def _read(self) -> None:
        # a server that ends the stream without an error is about to leave
        code = grpc.StatusCode.UNAVAILABLE
        try:
            for message in self._call:
                self._tell(HealthCheckResponse.FromString(message).status)
        except grpc.RpcError as error:
            code = error.code()
        except DecodeError:
            self._call.cancel()
            code = grpc.StatusCode.UNIMPLEMENTED  # whatever this is, it is no health service
        self._tell(None, code)

    def _tell(self, status: int | None, code: Any = None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._told, status, code)
        except RuntimeError:  # the loop is closed: nobody listens any more
            self._call.cancel()

    def _told(self, status: int | None, code: Any) -> None:
        if self._listener is None:
            return
        if status is not None:
            self._listener.heard(self, status)
        else:
            self._listener.ended(self, code)
