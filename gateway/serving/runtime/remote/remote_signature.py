"""What another server says of its model: its tensors, and how many rows it takes in a request.

Runs in a serving process. Asked once whenever the server has become available, before any caller's
batch goes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


class RemoteSignature(NamedTuple):
    """What was learnt; without a word from the server nothing is held against it."""

    fault: str = ""
    """Why it cannot run the version; empty: nothing speaks against it."""
    max_rows: int = 0
    """Rows that it takes in one request; 0: no limit is known."""


async def ask_signature(
    channel: Channel,
    version: VersionPlan,
    model: str,
    remote_version: str,
    metadata: Sequence[tuple[str, str]],
) -> RemoteSignature:
    """Asks ModelMetadata, and ModelConfig, which is Triton's and not every server has.

    `model` and `remote_version` are its names over there.
    """

    async def answer(method: str, question: Any, kind: Any) -> Any:
        message = question(name=model, version=remote_version).SerializeToString()
        return _read(kind, await ask(channel, method, message, metadata, _ANSWER_S))

    tensors = await answer(MODEL_METADATA, ModelMetadataRequest, ModelMetadataResponse)
    config = (await answer(MODEL_CONFIG, ModelConfigRequest, ModelConfigResponse)).config
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
