"""`grpc.health.v1.Health`: Check, List and Watch, in a serving process."""

from __future__ import annotations

from typing import Final

from gateway.core.grpc_codes import NOT_FOUND
from gateway.protocol.generated.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListResponse,
)
from gateway.serving.wire.health_status import Health, Status
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call, CallEnded, StreamCall

_RESPONSES: Final = {
    status: HealthCheckResponse(status=status.name).SerializeToString() for status in Status
}


class HealthService:
    """Answers with the health of the server and of its models.

    The names are those of `gateway.serving.wire.health_status`.
    """

    def __init__(self, health: Health, streams: OpenStreams) -> None:
        self._health = health
        self._streams = streams

    async def check(self, _call: Call, message: bytes) -> bytes:
        """Check; an unknown name is NOT_FOUND."""
        service = parse(HealthCheckRequest, message).service
        status = self._health.status(service)
        if status is Status.SERVICE_UNKNOWN:
            raise CallEnded(
                NOT_FOUND,
                f"unknown service '{service}': known are '', "
                "'inference.GRPCInferenceService', MODEL and MODEL/VERSION",
            )
        return _RESPONSES[status]

    async def list(self, _call: Call, _message: bytes) -> bytes:
        """List: all names there are."""
        response = HealthListResponse()
        for name, status in self._health.statuses().items():
            response.statuses[name].MergeFromString(_RESPONSES[status])
        return response.SerializeToString()

    async def watch(self, call: StreamCall) -> None:
        """Watch: the health now and at every change.

        An unknown name is SERVICE_UNKNOWN, and may become known later.
        """
        message = await self._streams.wait(call.receive())
        if message is None:
            return
        with self._health.watch(parse(HealthCheckRequest, message).service) as watch:
            while True:
                await call.send(_RESPONSES[await self._streams.wait(watch.next())])
