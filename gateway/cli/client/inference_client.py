"""The client of the command line, for a gateway or any other server of the protocol.

What goes wrong is reported with what to do about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from gateway.cli.client.call_hints import exit_status, hint
from gateway.cli.client.client_options import ClientOptions
from gateway.cli.command_errors import CommandError
from gateway.cli.parser import nearest
from gateway.core.plan import TensorSpec
from gateway.core.request import Array
from gateway.protocol.generated.inference_pb2 import (
    ModelConfigRequest,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    RepositoryIndexRequest,
)
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from gateway.protocol.named_columns import COLUMNS, LABELS, read_names
from gateway.protocol.tensors import encode_raw

T = TypeVar("T")


class Client:
    """Asks a server; `with` closes the connection. Every method raises `CommandError`."""

    def __init__(self, options: ClientOptions) -> None:
        self._options = options
        self._ends = time.monotonic() + options.timeout_s

    def __enter__(self) -> Self:
        self._channel = _open_channel(self._options)
        self._stub = GRPCInferenceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()

    def signature(
        self, model: str, version: str
    ) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """The inputs of a model, none of them known to be optional, and its outputs."""
        metadata = self._ask(
            self._stub.ModelMetadata, ModelMetadataRequest(name=model, version=version), model
        )
        return tuple(map(_spec, metadata.inputs)), tuple(map(_spec, metadata.outputs))

    def optional_inputs(self, model: str, version: str) -> frozenset[str]:
        """Names of inputs that may be left out; none where the server does not tell."""
        try:
            config = self._ask(
                self._stub.ModelConfig, ModelConfigRequest(name=model, version=version), model
            ).config
        except CommandError:
            return frozenset()
        return frozenset(tensor.name for tensor in config.input if tensor.optional)

    def infer(
        self, model: str, version: str, inputs: Mapping[str, Array], datatypes: Mapping[str, str]
    ) -> ModelInferResponse:
        """The model's answer."""
        request = ModelInferRequest(model_name=model, model_version=version)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype=datatypes[name], shape=array.shape)
            request.raw_input_contents.append(encode_raw(array, datatypes[name]))
        response: ModelInferResponse = self._ask(self._stub.ModelInfer, request, model)
        return response

    def _ask(self, method: Callable[..., T], request: object, model: str) -> T:
        try:
            return self._call(method, request)
        except grpc.RpcError as error:
            raise self._fault(error, model) from None

    def _call(self, method: Callable[..., T], request: object) -> T:
        """Calls the method in the time that is left; raises `grpc.RpcError`."""
        return method(request, timeout=max(0.0, self._ends - time.monotonic()))

    def _fault(self, error: Any, model: str) -> CommandError:
        """What is told of a call that failed: its status, and what to do about it."""
        code = error.code()
        details = error.details() or "no details"
        hints = self._hints(code, details, model)
        return CommandError([f"{code.name}: {details}", *hints], exit_status(code.name, details))

    def _hints(self, code: Any, details: str, model: str) -> Sequence[str]:
        if code.name == "NOT_FOUND":
            return self._other_models(model)
        return tuple(filter(None, [hint(code.name, details, self._options, model)]))

    def _other_models(self, model: str) -> Sequence[str]:
        try:
            index = self._stub.RepositoryIndex(RepositoryIndexRequest(ready=True), timeout=1)
        except grpc.RpcError:
            return ()
        names = sorted({entry.name for entry in index.models})
        if model in names:  # what was not found is a version, or a part of it
            return ()
        return (f"the server has {', '.join(names) or 'no live model'}{nearest(model, names)}",)


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(
        tensor.name,
        tensor.datatype,
        tuple(tensor.shape),
        labels=read_names(tensor, LABELS),
        columns=read_names(tensor, COLUMNS),
    )


def _open_channel(options: ClientOptions) -> Any:
    arguments = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
    ]
    if not options.secure:
        return grpc.insecure_channel(options.address, arguments)
    if options.tls_server_name:
        # gRPC takes texts beside numbers, which the type of the list does not say
        arguments.append(("grpc.ssl_target_name_override", options.tls_server_name))  # type: ignore[arg-type]
    files = {
        option: _read(option, getattr(options, option))
        for option in ("tls_ca", "tls_cert", "tls_key")
    }
    if (files["tls_cert"] is None) != (files["tls_key"] is None):
        raise CommandError("--tls-cert and --tls-key, the client's own, come together")
    credentials = grpc.ssl_channel_credentials(files["tls_ca"], files["tls_key"], files["tls_cert"])
    return grpc.secure_channel(options.address, credentials, arguments)


def _read(option: str, path: str) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise CommandError(
            f"--{option.replace('_', '-')}: {path} cannot be read: {error.strerror}"
        ) from error
