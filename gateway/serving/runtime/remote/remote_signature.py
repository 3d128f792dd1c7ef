"""What another server says of its model: its tensors, and how many rows it takes in a request.

Runs in a serving process. Asked whenever the server has become available, before any caller's batch
goes there, and every few seconds while its model is another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from gateway.core.plan import TensorSpec, VersionPlan
from gateway.protocol.generated.inference_pb2 import (
    ModelConfigRequest,
    ModelConfigResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from gateway.serving.runtime.remote.grpc_channel import Channel, ask

MODEL_METADATA: Final = "/inference.GRPCInferenceService/ModelMetadata"
MODEL_CONFIG: Final = "/inference.GRPCInferenceService/ModelConfig"
_ANSWER_S: Final = 2.0  # a server that takes longer is taken to know nothing of it
_ASK_AGAIN_S: Final = 5.0  # while the model over there is another one

_log = logging.getLogger(__name__)


class RemoteSignature(NamedTuple):
    """What was learnt; without a word from the server nothing is held against it."""

    fault: str = ""
    """Why it cannot run the version; empty: nothing speaks against it."""
    max_rows: int = 0
    """Rows that it takes in one request; 0: no limit is known."""


class ModelThere(NamedTuple):
    """The model as the other server knows it."""

    address: str
    name: str
    version: str
    """Empty: the server's choice."""
    metadata: Sequence[tuple[str, str]]
    """Sent with every question."""


async def follow_signature(
    channel: Channel,
    version: VersionPlan,
    there: ModelThere,
    learnt: Callable[[RemoteSignature], None],
) -> None:
    """Asks until it is one that can be used: another version of the model may come there."""
    said = ""
    while True:
        try:
            signature = await _ask_signature(channel, version, there)
        except Exception as error:  # noqa: BLE001  # a channel that was closed meanwhile
            _log.debug("%s: its model's signature is not known: %s", there.address, error)
            signature = RemoteSignature()
        learnt(signature)
        if not signature.fault:
            return
        if signature.fault != said:
            _log.warning("%s cannot run '%s': %s", there.address, there.name, signature.fault)
            said = signature.fault
        await asyncio.sleep(_ASK_AGAIN_S)


async def _ask_signature(
    channel: Channel, version: VersionPlan, there: ModelThere
) -> RemoteSignature:
    """Asks ModelMetadata, and ModelConfig, which is Triton's and not every server has."""

    async def answer(method: str, question: Any, kind: Any) -> Any:
        message = question(name=there.name, version=there.version).SerializeToString()
        return _read(kind, await ask(channel, method, message, there.metadata, _ANSWER_S))

    tensors, answered = await asyncio.gather(
        answer(MODEL_METADATA, ModelMetadataRequest, ModelMetadataResponse),
        answer(MODEL_CONFIG, ModelConfigRequest, ModelConfigResponse),
    )
    config = answered.config
    optional = {tensor.name for tensor in config.input if tensor.optional}
    return RemoteSignature(_fault(version, tensors, optional), max(config.max_batch_size, 0))


def _read(kind: Any, call: Any) -> Any:
    """The message; empty where there is none, or it cannot be read."""
    try:
        if call.code() is grpc.StatusCode.OK:
            return kind.FromString(call.result() or b"")
    except DecodeError:
        pass
    return kind()


def _fault(version: VersionPlan, there: Any, optional: Iterable[str]) -> str:
    """There are three cases: a tensor is another one there, is missing there, is missing here.

    A server that names no tensors says nothing.
    """
    for side, ours, theirs in (
        ("input", version.inputs, {tensor.name: tensor for tensor in there.inputs}),
        ("output", version.outputs, {tensor.name: tensor for tensor in there.outputs}),
    ):
        if not theirs:
            continue
        for spec in ours:
            if fault := _tensor_fault(side, spec, theirs):
                return fault
        surplus = theirs.keys() - {spec.name for spec in ours} - set(optional)
        if side == "input" and surplus:
            return f"it wants an input '{min(surplus)}' that the model here does not have"
    return ""


def _tensor_fault(side: str, spec: TensorSpec, theirs: Mapping[str, Any]) -> str:
    tensor = theirs.get(spec.name)
    if tensor is None:
        if spec.optional:
            return ""
        return f"it has no {side} '{spec.name}', but {', '.join(map(repr, sorted(theirs)))}"
    shape = tuple(tensor.shape)
    agrees = len(shape) == len(spec.shape) and all(
        there == here or -1 in (there, here) for there, here in zip(shape, spec.shape, strict=True)
    )
    if agrees and tensor.datatype == spec.datatype:
        return ""
    return (
        f"its {side} '{spec.name}' is {tensor.datatype} {list(shape)}, and here it is "
        f"{spec.datatype} {list(spec.shape)}"
    )
