"""RepositoryIndex, RepositoryModelLoad and RepositoryModelUnload, in a serving process."""

from __future__ import annotations

import logging
from typing import Final

from gateway.core.errors import InvalidRequest, Unsupported
from gateway.ipc.messages import Change
from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.serving_link import ServingLink
from gateway.protocol.generated.inference_pb2 import (
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryModelLoadRequest,
    RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse,
)
from gateway.serving.wire.security.authorization import Authorization
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

_READY: Final = "READY"
_NO_REPOSITORY_NAME: Final = (
    "'repository_name' specification is not supported: there is one "
    "repository, leave the field empty"
)
_log = logging.getLogger(__name__)

ModelRequest = RepositoryModelLoadRequest | RepositoryModelUnloadRequest


class RepositoryService:
    """Lists what the repository holds, and has the control process load and unload models."""

    def __init__(
        self, state: ServerState, control: ServingLink, authorization: Authorization
    ) -> None:
        self._state = state
        self._control = control
        self._authorization = authorization

    async def repository_index(self, _call: Call, message: bytes) -> bytes:
        """RepositoryIndex: as published last, the same in every process."""
        request = parse(RepositoryIndexRequest, message)
        if request.repository_name:
            raise Unsupported(_NO_REPOSITORY_NAME)
        entries = [
            entry
            for entry in self._state.published().index
            if not request.ready or entry.state == _READY
        ]
        return RepositoryIndexResponse(
            models=[_model_index(entry) for entry in entries]
        ).SerializeToString()

    async def repository_model_load(self, call: Call, message: bytes) -> bytes:
        """RepositoryModelLoad: returns when the model is live in every process."""
        self._authorization.require(call)
        request = parse(RepositoryModelLoadRequest, message)
        model = model_name(request)
        parameters = load_parameters(request)
        _log.info(
            "%s asks to load '%s'%s",
            call.peer(),
            model,
            " with a configuration of its own" if parameters else "",
        )
        await self._control.ask(Change.LOAD, model, parameters)
        return RepositoryModelLoadResponse(model_name=model, isLoaded=True).SerializeToString()

    async def repository_model_unload(self, call: Call, message: bytes) -> bytes:
        """RepositoryModelUnload: returns when no process takes requests for the model any more."""
        self._authorization.require(call)
        request = parse(RepositoryModelUnloadRequest, message)
        model = model_name(request)
        parameters = unload_parameters(request)
        _log.info("%s asks to unload '%s'", call.peer(), model)
        await self._control.ask(Change.UNLOAD, model, parameters)
        return RepositoryModelUnloadResponse(model_name=model, isUnloaded=True).SerializeToString()


def model_name(request: ModelRequest) -> str:
    """The model that a load or unload is about; raises InvalidRequest or Unsupported.

    KServe's client puts it where the protocol has the repository's name.
    """
    if request.model_name and request.repository_name:
        raise Unsupported(_NO_REPOSITORY_NAME)
    name = request.model_name or request.repository_name
    if not name:
        raise InvalidRequest("'model_name' is empty: name the model")
    return name


def load_parameters(request: RepositoryModelLoadRequest) -> dict[str, object]:
    """The parameters of a load; raises Unsupported or InvalidRequest.

    There is one, `config`: the text of a configuration to use instead of the repository's.
    """
    parameters: dict[str, object] = {}
    for name, value in request.parameters.items():
        if name.startswith("file:"):
            raise Unsupported(
                f"load parameter '{name}' is refused: models come from the repository only, put "
                "the file there and load again"
            )
        if name != "config":
            raise InvalidRequest(f"unrecognized load parameter '{name}'. There is 'config'.")
        if value.WhichOneof("parameter_choice") != "string_param":
            raise InvalidRequest(
                f"invalid value type for load parameter '{name}', expected string_param."
            )
        parameters[name] = value.string_param
    return parameters


def unload_parameters(request: RepositoryModelUnloadRequest) -> dict[str, object]:
    """The parameters of an unload: `unload_dependents`."""
    parameters: dict[str, object] = {}
    for name, value in request.parameters.items():
        if name != "unload_dependents":
            raise InvalidRequest(
                f"unrecognized unload parameter '{name}'. There is 'unload_dependents'."
            )
        if value.WhichOneof("parameter_choice") != "bool_param":
            raise InvalidRequest(f"invalid value type for '{name}' parameter, expected bool_param.")
        parameters[name] = value.bool_param
    return parameters


def _model_index(entry: IndexEntry) -> RepositoryIndexResponse.ModelIndex:
    return RepositoryIndexResponse.ModelIndex(
        name=entry.model, version=entry.version, state=entry.state or "", reason=entry.reason
    )
