"""Requests with the answers that they must get.

Each is one serialised ModelInferRequest; checks of what came back stand beside it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from google.protobuf.message import DecodeError

from gateway.protocol.generated import inference_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

METHOD = "/inference.GRPCInferenceService/ModelInfer"
PREFIX_BYTES = 5
ECHOED_FLOATS = 10
# Batching changes the order of a matrix product's sums, so answers
# agree to rounding, not to the bit.
RELATIVE = 1e-4
ABSOLUTE = 1e-6


@dataclass(frozen=True)
class Payload:
    """One request for `model` and the values that its answer must have.

    The values are those of ONNX Runtime for the request alone.
    """

    model: str
    message: bytes
    expected: NDArray[np.float32]

    @cached_property
    def framed(self) -> bytes:
        """The message behind gRPC's five bytes: the mark for not compressed, and its length."""
        return b"\0" + struct.pack(">I", len(self.message)) + self.message


def make_payload(
    folder: Path, model: str, *, rows: int = 1, seed: int = 0, echo: bool = False
) -> Payload:
    """A request of `rows` normal random rows for FOLDER/MODEL/1/model.onnx.

    The model has one float input and one float output.

    With `echo` the expected answer is the first ten floats of each row, as the
    yardstick's `--echo` gives them.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # no spinning threads beside a measurement
    session = ort.InferenceSession(
        folder / model / "1" / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    (tensor,) = session.get_inputs()
    rng = np.random.default_rng([zlib.crc32(model.encode()), seed])
    x = rng.standard_normal((rows, tensor.shape[1]), np.float32)
    expected = x[:, :ECHOED_FLOATS] if echo else np.asarray(session.run(None, {tensor.name: x})[0])
    request = inference_pb2.ModelInferRequest(
        model_name=model, id="1", raw_input_contents=[x.tobytes()]
    )
    request.inputs.add(name=tensor.name, datatype="FP32", shape=x.shape)
    return Payload(model, request.SerializeToString(), expected)


def fault_of_message(reply: bytes, payload: Payload) -> str:
    """What is wrong with a serialised ModelInferResponse; empty when nothing is."""
    try:
        response = inference_pb2.ModelInferResponse.FromString(reply)
    except DecodeError:
        return f"{len(reply)} bytes that are no ModelInferResponse"
    if (
        response.model_name != payload.model
        or len(response.outputs) != 1
        or len(response.raw_output_contents) != 1
    ):
        return (
            f"asked {payload.model} for one raw output, got {len(response.raw_output_contents)} "
            f"from {response.model_name!r}"
        )
    if list(response.outputs[0].shape) != list(payload.expected.shape):
        return (
            f"expected shape {list(payload.expected.shape)} from {payload.model}, got "
            f"{list(response.outputs[0].shape)}"
        )
    raw = response.raw_output_contents[0]
    if len(raw) != payload.expected.nbytes:
        return (
            f"expected {payload.expected.nbytes} bytes of output from "
            f"{payload.model}, got {len(raw)}"
        )
    got = np.frombuffer(raw, np.float32).reshape(payload.expected.shape)
    if not np.allclose(got, payload.expected, RELATIVE, ABSOLUTE):
        return (
            f"{payload.model} answered {got.ravel()[:4]}..., expected "
            f"{payload.expected.ravel()[:4]}..."
        )
    return ""


def fault_of_framed(reply: bytes, payload: Payload) -> str:
    """What is wrong with a reply as it came off the wire, behind its five-byte prefix."""
    if (
        len(reply) < PREFIX_BYTES
        or reply[0]
        or len(reply) != PREFIX_BYTES + struct.unpack_from(">I", reply, 1)[0]
    ):
        return f"{len(reply)} bytes that are not one uncompressed gRPC message"
    return fault_of_message(reply[PREFIX_BYTES:], payload)


def faults_of(replies: Sequence[tuple[bytes, Payload]]) -> list[str]:
    """What is wrong with each wrong reply.

    Replies with the same bytes for one payload are compared once, since few replies differ.
    """
    known: dict[tuple[bytes, int], str] = {}
    faults = []
    for reply, payload in replies:
        key = (reply, id(payload))
        if key not in known:
            known[key] = fault_of_framed(reply, payload)
        if known[key]:
            faults.append(known[key])
    return faults
