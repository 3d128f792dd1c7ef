"""ServerLive, ServerReady, ServerMetadata and ModelReady, in a serving process."""

from __future__ import annotations

from typing import Final

from gateway.core.errors import ModelNotFound, Unavailable
from gateway.protocol.generated.inference_pb2 import (
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

SERVER_NAME: Final = "onnx-gateway"

# What holds always. Not among them: `sequence` (ONNX models here have no state between requests),
# `system_shared_memory` and `cuda_shared_memory` (answered with UNIMPLEMENTED),
# `model_repository(unload_dependents)` (no model here depends on another).
_EXTENSIONS: Final = (
    "classification",
    "model_repository",
    "schedule_policy",  # the request parameters `priority` and `timeout`
    "model_configuration",
    "binary_tensor_data",
    "parameters",  # custom ones are taken, reserved ones refused
    "statistics",  # perf_analyzer asks for ModelStatistics only where it reads this
)

_LIVE: Final = ServerLiveResponse(live=True).SerializeToString()


class ServerService:
    """Answers what the server is and whether it, or one of its models, takes requests."""

    def __init__(self, state: ServerState, catalogue: Catalogue, version: str) -> None:
        self._state = state
        self._catalogue = catalogue
        self._version = version

    async def server_live(self, _call: Call, _message: bytes) -> bytes:
        """ServerLive: a server that can answer is live."""
        return _LIVE

    async def server_ready(self, _call: Call, _message: bytes) -> bytes:
        """ServerReady: as the control process published, and not while this process drains."""
        return ServerReadyResponse(ready=self._state.ready).SerializeToString()

    async def server_metadata(self, _call: Call, _message: bytes) -> bytes:
        """ServerMetadata: name, version and extensions of the server."""
        return ServerMetadataResponse(
            name=SERVER_NAME, version=self._version, extensions=self.extensions()
        ).SerializeToString()

    async def model_ready(self, _call: Call, message: bytes) -> bytes:
        """ModelReady: a version is live and the process does not drain.

        It is false for an unknown model, as in Triton.
        """
        request = parse(ModelReadyRequest, message)
        return ModelReadyResponse(
            ready=self._is_ready(request.name, request.version)
        ).SerializeToString()

    def extensions(self) -> list[str]:
        """The protocol's extensions that are really there.

        Trace and log settings are, as far as the control process has published any.
        """
        publication = self._state.publication
        has_trace = publication is not None and bool(publication.trace_settings)
        has_log = publication is not None and bool(publication.log_settings)
        return [*_EXTENSIONS, *["trace"] * has_trace, *["logging"] * has_log]

    def _is_ready(self, model: str, version: str) -> bool:
        try:
            self._catalogue.resolve(model, version)
        except (ModelNotFound, Unavailable):
            return False
        return not self._state.draining
