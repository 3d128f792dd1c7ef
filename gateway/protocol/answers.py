"""Predictions become the bytes of ModelInferResponses, in a serving process.

Protobuf messages merge by concatenation, so the part of a response that every request of the same
shapes shares (names, datatypes, shapes) is serialised once, and a request adds its id and its
elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.core.datatypes import BYTES
from gateway.core.errors import InvalidRequest
from gateway.core.request import Array, Prediction
from gateway.protocol.fields import bytes_tag
from gateway.protocol.generated.inference_pb2 import ModelInferResponse
from gateway.protocol.parameters import chosen, set_parameter
from gateway.protocol.signature import Signature
from gateway.protocol.tensors import encode_raw, fill_typed

_RAW_OUTPUT_CONTENTS: Final = 6
_MAX_HEADS: Final = 512  # shapes remembered per version


class AnswerEncoder:
    """Encodes the predictions of one version."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._heads: dict[tuple[object, ...], tuple[bytes, ...]] = {}

    def encode(
        self,
        id_field: bytes,
        outputs: tuple[int, ...],
        prediction: Prediction,
        choices: Choices | None = None,
    ) -> bytes:
        """The response, with raw contents where the request chose nothing else.

        `id_field` is the id with its tag (field 3, the same in requests and responses); `outputs`
        are indexes into the signature's outputs, each of which has its entry, also where it is
        empty. Raises InvalidRequest where `choices` cannot be met.
        """
        if choices is not None or prediction.parameters:
            message = self._message(id_field, outputs, prediction, choices or _RAW)
            return message.SerializeToString()
        arrays = prediction.outputs
        if len(arrays) == 1:
            (array,) = arrays
            head = self._heads.get((outputs, array.shape))
            if head is not None:
                return b"".join((id_field, head[0], array.tobytes()))
        return self._encode_raw(id_field, outputs, arrays)

    def _encode_raw(
        self, id_field: bytes, outputs: tuple[int, ...], arrays: tuple[Array, ...]
    ) -> bytes:
        """The response with raw contents, for any number of outputs."""
        key = (outputs, *(array.shape for array in arrays))
        heads = self._heads.get(key)
        if heads is None:
            heads = self._make_heads(key, outputs, arrays)
        if not heads:
            return self._with_strings(id_field, outputs, arrays)
        parts = [id_field]
        for head_part, array in zip(heads, arrays, strict=True):
            parts += (head_part, array.tobytes())
        return b"".join(parts)

    def _make_heads(
        self, key: tuple[object, ...], outputs: tuple[int, ...], arrays: tuple[Array, ...]
    ) -> tuple[bytes, ...]:
        """What stands before each output's elements; empty where an output has strings.

        BYTES make the lengths differ from request to request, so nothing can be remembered.
        """
        specs = [self._signature.outputs[i] for i in outputs]
        if any(spec.datatype == BYTES for spec in specs):
            return ()
        common = self._common(outputs, arrays).SerializeToString()
        tags = [bytes_tag(_RAW_OUTPUT_CONTENTS, array.nbytes) for array in arrays]
        heads = (common + tags[0], *tags[1:]) if tags else (common,)
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        self._heads[key] = heads
        return heads

    def _common(self, outputs: tuple[int, ...], arrays: Sequence[Array]) -> Any:
        response = ModelInferResponse(
            model_name=self._signature.model, model_version=self._signature.version
        )
        for index, array in zip(outputs, arrays, strict=True):
            spec = self._signature.outputs[index]
            tensor = response.outputs.add(name=spec.name, datatype=spec.datatype)
            tensor.shape.extend(array.shape)
        return response

    def _with_strings(
        self, id_field: bytes, outputs: tuple[int, ...], arrays: tuple[Array, ...]
    ) -> bytes:
        response = self._common(outputs, arrays)
        for index, array in zip(outputs, arrays, strict=True):
            response.raw_output_contents.append(
                encode_raw(array, self._signature.outputs[index].datatype)
            )
        return b"".join((id_field, response.SerializeToString()))

    def _message(
        self, id_field: bytes, outputs: tuple[int, ...], prediction: Prediction, choices: Choices
    ) -> ModelInferResponse:
        """The response as a message: raw or typed contents, and classes instead of values.

        Raises InvalidRequest for typed contents of a datatype that only travels raw.
        """
        specs = [self._signature.outputs[i] for i in outputs]
        response = ModelInferResponse.FromString(id_field)
        response.model_name = self._signature.model
        response.model_version = self._signature.version
        for name, value in (prediction.parameters or {}).items():
            set_parameter(response.parameters[name], value)
        for spec, array in zip(specs, prediction.outputs, strict=True):
            datatype = spec.datatype
            answer = array
            if (classes := choices.classes.get(spec.name, 0)) > 0:
                answer = classify(array, classes, spec.labels, batched=self._signature.batched)
                datatype = BYTES
            tensor = response.outputs.add(name=spec.name, datatype=datatype)
            tensor.shape.extend(answer.shape)
            if choices.typed:
                fill_typed(tensor.contents, answer, datatype)
            else:
                response.raw_output_contents.append(encode_raw(answer, datatype))
        return response


class Choices:
    """What a request chose of its response besides the outputs.

    `typed`: typed contents instead of raw ones; `classes`: by output, how many classes are to be
    answered instead of its values.
    """

    __slots__ = ("classes", "typed")

    def __init__(self, *, typed: bool, classes: Mapping[str, int]) -> None:
        self.typed = typed
        self.classes = classes

    @classmethod
    def of(cls, head: Any) -> Choices | None:
        """The choices of a ModelInferRequest, None where it made none.

        Raises InvalidRequest for values of a wrong kind.
        """
        typed = chosen(head.parameters, "binary_data_output", default=True) is False
        classes: dict[str, int] = {}
        for output in head.outputs:
            typed = typed or chosen(output.parameters, "binary_data_output", default=True) is False
            wanted = chosen(output.parameters, "classification", default=0)
            if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
                raise InvalidRequest(
                    f"output '{output.name}': parameter 'classification' must be a whole number of "
                    f"0 or more, got {wanted!r}"
                )
            if wanted:
                classes[output.name] = wanted
        return cls(typed=typed, classes=classes) if typed or classes else None


_RAW: Final = Choices(typed=False, classes={})


def classify(array: Array, count: int, labels: Sequence[str], *, batched: bool) -> Array:
    """The `count` largest elements of each row as `value:index[:label]`, largest first.

    Where there is no batch axis, they are those of the whole tensor.
    """
    if array.dtype.kind not in "fiub" and array.dtype.kind != "V":
        raise InvalidRequest(f"classification needs numbers, the output holds {array.dtype}")
    # the row's size is counted: numpy cannot infer it where there are no rows
    shape = (len(array), math.prod(array.shape[1:])) if batched and array.ndim else (1, array.size)
    rows = array.reshape(shape)
    top = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    out = np.empty(top.shape, object)
    for r, indexes in enumerate(top):
        out[r] = [_class_text(rows[r, i], int(i), labels) for i in indexes]
    return out if batched else out[0]


def _class_text(value: Any, index: int, labels: Sequence[str]) -> str:
    number = f"{float(value):f}" if value.dtype.kind in "fV" else str(int(value))
    return f"{number}:{index}:{labels[index]}" if index < len(labels) else f"{number}:{index}"
