"""Batches as ModelInferRequests, and another server's answers as arrays, in a serving process."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from gateway.core.datatypes import BYTES
from gateway.core.errors import InvalidRequest, ModelFailed
from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.protection import RemotePlan
from gateway.core.request import Array
from gateway.protocol.fields import Malformed, bytes_tag, split_field
from gateway.protocol.generated.inference_pb2 import ModelInferRequest, ModelInferResponse
from gateway.protocol.signature import fits, shape_text
from gateway.protocol.tensors import decode_raw, decode_typed, element_count, encode_raw, raw_size

_RAW_INPUT_CONTENTS: Final = 7
_RAW_OUTPUT_CONTENTS: Final = 6
_MAX_HEADS: Final = 512  # shapes remembered per version
Contents = tuple[Any, bytes, tuple[int, int] | None]
"""A tensor, and the bytes and the place in them of its raw contents; None: it is typed."""


class BatchCodec:
    """Encodes a version's batches for one server, and decodes what it answers; thread safe."""

    def __init__(self, version: VersionPlan, plan: RemotePlan) -> None:
        self._address = plan.address
        self._model = plan.model or version.model
        self._version = plan.version
        self._inputs = {spec.name: spec.datatype for spec in version.inputs}
        self._outputs = version.outputs
        self._heads: dict[tuple[object, ...], bytes] = {}

    def encode(self, feed: Mapping[str, Array], wanted: tuple[int, ...]) -> bytes:
        """The request: inputs raw, the wanted outputs by name."""
        key = (wanted, *[(name, array.shape) for name, array in feed.items()])
        parts: list[Any] = [self._heads.get(key) or self._make_head(key, feed, wanted)]
        for name, array in feed.items():
            # an array as it stands is copied once, by the join; `tobytes` would copy it twice
            data: Any = encode_raw(array, BYTES) if self._inputs[name] == BYTES else array
            parts += (
                bytes_tag(
                    _RAW_INPUT_CONTENTS, len(data) if isinstance(data, bytes) else data.nbytes
                ),
                data,
            )
        return b"".join(parts)

    def _make_head(
        self, key: tuple[object, ...], feed: Mapping[str, Array], wanted: tuple[int, ...]
    ) -> bytes:
        request = ModelInferRequest(model_name=self._model, model_version=self._version)
        for name, array in feed.items():
            request.inputs.add(name=name, datatype=self._inputs[name], shape=array.shape)
        for index in wanted:
            request.outputs.add(name=self._outputs[index].name)
        head = request.SerializeToString()
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[key] = head
        return head

    def decode(self, message: bytes, wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs, in that order, as read-only views of the message where they can be.

        Raises ModelFailed where the message is no answer to `rows` rows (-1: there is no batch
        axis).
        """
        try:
            found = self._tensors(message)
            return [self._output(self._outputs[index], found, rows) for index in wanted]
        except (DecodeError, Malformed) as error:
            raise ModelFailed(
                f"{self._address} answered what is no ModelInferResponse: {error}"
            ) from None

    def _tensors(self, message: bytes) -> dict[str, Contents]:
        """The tensors of an answer by name."""
        split = split_field(message, _RAW_OUTPUT_CONTENTS)
        if split is None:  # too many fields to walk
            response = ModelInferResponse.FromString(message)
            raw = [(data, (0, len(data))) for data in response.raw_output_contents]
        else:
            response = ModelInferResponse.FromString(split[0])
            raw = [(message, span) for span in split[1]]
        if raw and len(raw) != len(response.outputs):
            raise ModelFailed(
                f"{self._address} answered {len(response.outputs)} outputs "
                f"with {len(raw)} raw contents"
            )
        places: Sequence[tuple[bytes, tuple[int, int] | None]] = raw or [(b"", None)] * len(
            response.outputs
        )
        return {
            tensor.name: (tensor, *place)
            for tensor, place in zip(response.outputs, places, strict=True)
        }

    def _output(self, spec: TensorSpec, found: Mapping[str, Contents], rows: int) -> Array:
        if spec.name not in found:
            has = ", ".join(sorted(found)) or "none"
            raise ModelFailed(
                f"{self._address} answered without the output '{spec.name}': it has {has}"
            )
        tensor, data, span = found[spec.name]
        shape = tuple(tensor.shape)
        self._check(spec, tensor.datatype, shape, rows)
        try:
            if span is None:
                return decode_typed(tensor.contents, spec.datatype, shape, spec.name)
            size = raw_size(spec.datatype, shape)
            # the length of each of the BYTES takes four
            if size != span[1] and (size >= 0 or 4 * element_count(shape) > span[1]):
                raise ModelFailed(
                    f"{self._address} answered '{spec.name}' {shape_text(shape)} in {span[1]} bytes"
                )
            return decode_raw(data, *span, spec.datatype, shape, spec.name)
        except InvalidRequest as error:
            text = str(error).replace(f"input '{spec.name}'", f"output '{spec.name}'")
            raise ModelFailed(
                f"{self._address} answered with data that cannot be read: {text}"
            ) from None

    def _check(self, spec: TensorSpec, datatype: str, shape: tuple[int, ...], rows: int) -> None:
        if datatype != spec.datatype:
            raise ModelFailed(
                f"{self._address} answered '{spec.name}' as {datatype}, it is {spec.datatype} here"
            )
        if min(shape, default=0) < 0 or not fits(shape, spec.shape):
            raise ModelFailed(
                f"{self._address} answered '{spec.name}' with shape {shape_text(shape)}, it is "
                f"{shape_text(spec.shape)} here"
            )
        if rows >= 0 and (not shape or shape[0] != rows):
            raise ModelFailed(
                f"{self._address} was given {rows} rows and answered '{spec.name}' "
                f"with shape {shape_text(shape)}"
            )

    def __repr__(self) -> str:
        return f"<BatchCodec {self._model} {self._version or 'newest'} at {self._address}>"


def row_parts(rows: int, max_rows: int) -> list[slice]:
    """The rows in as few parts of at most `max_rows` as it takes, of about the same size."""
    count = -(-rows // max_rows)
    bounds = [rows * i // count for i in range(count + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(bounds)]
