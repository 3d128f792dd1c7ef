"""The client of the command line for the models of a gateway, or of another Triton-like server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

import grpc

from gateway.cli.client.client_options import ClientOptions
from gateway.cli.client.inference_client import Client
from gateway.cli.command_errors import NOT_FOUND, CommandError
from gateway.cli.parser import nearest
from gateway.protocol.generated.gateway_control_pb2 import (
    ListModelsRequest,
    ModelVersion,
    ReloadModelsRequest,
    ReloadModelsResponse,
)
from gateway.protocol.generated.gateway_control_pb2_grpc import GatewayControlStub
from gateway.protocol.generated.inference_pb2 import (
    RepositoryIndexRequest,
    RepositoryModelLoadRequest,
    RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse,
)

T = TypeVar("T")


class ControlClient(Client):
    """Asks which versions are live, and has the server changed, with the admin token."""

    def __init__(self, options: ClientOptions, token: str = "") -> None:
        super().__init__(options)
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def __enter__(self) -> Self:
        super().__enter__()
        self._control = GatewayControlStub(self._channel)  # type: ignore[no-untyped-call]
        return self

    def versions(self, model: str = "") -> Sequence[ModelVersion]:
        """The versions of a model, or of all; a server that is no gateway tells less of them."""
        request = ListModelsRequest(model=model)
        try:
            return tuple(self._call(self._control.ListModels, request).versions)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise self._fault(error, model) from None
        index = self._ask(self._stub.RepositoryIndex, RepositoryIndexRequest(), model).models
        names = sorted({entry.name for entry in index})
        if model and model not in names:
            raise CommandError(
                f"there is no model '{model}' (models: {', '.join(names) or 'none'})"
                f"{nearest(model, names)}",
                NOT_FOUND,
            )
        return tuple(
            ModelVersion(
                model=entry.name, version=entry.version, state=entry.state, reason=entry.reason
            )
            for entry in index
            if model in ("", entry.name)
        )

    def reload(self) -> Sequence[ModelVersion]:
        """Has a gateway look at its repository; returns what stands otherwise than before."""
        changed: ReloadModelsResponse = self._ask(
            self._permitted(self._control.ReloadModels), ReloadModelsRequest(), ""
        )
        return tuple(changed.changed)

    def load(self, model: str) -> None:
        """Has the server load a model as it now stands in its repository."""
        _: RepositoryModelLoadResponse = self._ask(
            self._permitted(self._stub.RepositoryModelLoad),
            RepositoryModelLoadRequest(model_name=model),
            model,
        )

    def unload(self, model: str) -> None:
        """Has the server take a model out of service."""
        _: RepositoryModelUnloadResponse = self._ask(
            self._permitted(self._stub.RepositoryModelUnload),
            RepositoryModelUnloadRequest(model_name=model),
            model,
        )

    def _permitted(self, method: Callable[..., T]) -> Callable[..., T]:
        """The method, called with the token."""
        return functools.partial(method, metadata=self._metadata)

    def _not_implemented(self) -> str:
        return (
            f"{self._options.address} does not have this call: a gateway has them all, other "
            "servers index, load and unload where they have the model repository extension"
        )

    def _hints(self, code: Any, details: str, model: str) -> Sequence[str]:
        if code.name == "UNIMPLEMENTED":
            return [self._not_implemented()]
        if code.name in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return ("here that token is given with --token-file FILE",)
        return super()._hints(code, details, model)
