"""The client of the command line, for a gateway or any other server of the protocol.

What goes wrong is reported with what to do about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.parser import nearest
from gateway.config.quantities import format_duration
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

_CODES = grpc.StatusCode
_LEFT_ALONE = ("circuit breaker for", "no instance can run")
"""What a gateway says of a version whose circuit breakers are open."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Where the server is and how it is spoken to."""

    address: str
    timeout_s: float = 5.0
    """Time for everything that is asked, together."""
    tls: bool = False
    tls_ca: str = ""
    """Roots the server's certificate leads to, a PEM file; empty: those gRPC brings."""
    tls_cert: str = ""
    tls_key: str = ""
    """The client's own, PEM files; empty: it has none."""
    tls_server_name: str = ""
    """The name in the server's certificate; empty: that of the address."""


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
            return method(request, timeout=max(0.0, self._ends - time.monotonic()))
        except grpc.RpcError as error:
            code = error.code()
            details = error.details() or "no details"
            hints = self._hints(code, details, model)
            raise CommandError([f"{code.name}: {details}", *hints], FAILED) from None

    def _hints(self, code: Any, details: str, model: str) -> Sequence[str]:
        if code is _CODES.NOT_FOUND:
            return self._other_models(model)
        return tuple(filter(None, [hint(code, details, self._options)]))

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


def hint(code: Any, details: str, options: ClientOptions) -> str:
    """What to do about a status; empty where the server's own text says it all."""
    if code is _CODES.UNAVAILABLE:
        return _unavailable_hint(details.lower(), options)
    if code is _CODES.DEADLINE_EXCEEDED:
        return (
            f"{options.address} did not answer within {format_duration(options.timeout_s)}: "
            "give it longer with --timeout"
        )
    if code is _CODES.RESOURCE_EXHAUSTED:
        return "send fewer rows (--rows N), or try again when the server is less busy"
    if code is _CODES.UNIMPLEMENTED:
        return (
            f"{options.address} is a gRPC server, but does not speak the Open Inference "
            "Protocol: is it the right port?"
        )
    return ""


def _unavailable_hint(details: str, options: ClientOptions) -> str:
    """What to do about UNAVAILABLE, of which only the details tell one cause from another."""
    if any(part in details for part in _LEFT_ALONE):
        return (
            f"`gateway breakers --address {options.address}` shows its circuit breakers, and "
            "sets them"
        )
    return _connection_hint(details, options) or (
        "it may be loading still, or stopping: try again; `gateway check DIR` "
        "shows what is wrong with a model"
    )


def _connection_hint(details: str, options: ClientOptions) -> str:
    """What to do where no connection came about; empty where one did."""
    address = options.address
    if "wrong_version_number" in details:
        return f"{address} does not speak TLS: leave out --tls and its like"
    if any(word in details for word in ("handshake", "certificate", "verification")):
        return (
            "TLS failed: give the roots of the server's certificate with --tls-ca, and the name "
            "in it with --tls-server-name"
        )
    if "http/2" in details:
        return f"{address} is no gRPC server: is it the right port?"
    if "closed" in details or "reset" in details:
        return (
            f"{address} took the connection and closed it: does it want "
            f"{_wanted_of_clients(options)}, or is it no gRPC server?"
        )
    if "connect" in details or "dns" in details:
        return (
            f"nothing answers at {address}: start a server there with `gateway serve --models "
            "DIR`, or say where it is with --address"
        )
    return ""


def _wanted_of_clients(options: ClientOptions) -> str:
    """What a server that closes connections may want, and the options do not give it."""
    if _is_secure(options):
        return "a certificate of its clients (--tls-cert FILE --tls-key FILE)"
    return "TLS (--tls-ca FILE)"


def _open_channel(options: ClientOptions) -> Any:
    arguments = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_retries", 0),
    ]
    if not _is_secure(options):
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


def _is_secure(options: ClientOptions) -> bool:
    return options.tls or bool(
        options.tls_ca or options.tls_cert or options.tls_key or options.tls_server_name
    )


def _read(option: str, path: str) -> bytes | None:
    try:
        return Path(path).read_bytes() if path else None
    except OSError as error:
        raise CommandError(
            f"--{option.replace('_', '-')}: {path} cannot be read: {error.strerror}"
        ) from error
