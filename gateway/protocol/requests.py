"""A ModelInferRequest's bytes, checked against a version's signature, become a request.

Runs in a serving process. Everything that is the caller's fault is refused here, before it can
share a batch with anybody. Texts follow Triton's, because tools and tests look for them; those
about a request's content begin with `[request id: ID] `.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from google.protobuf.message import DecodeError

from gateway.core.datatypes import BYTES, ITEM_BYTES
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.core.name_list import listed
from gateway.core.request import Array, RequestForm
from gateway.protocol.fields import Malformed, split_field
from gateway.protocol.generated.inference_pb2 import ModelInferRequest
from gateway.protocol.parameters import read_parameters, whole_number
from gateway.protocol.signature import Signature, fits, shape_text
from gateway.protocol.tensors import decode_raw, decode_typed, raw_size

_RAW_INPUT_CONTENTS: Final = 7
_MAX_ELEMENTS: Final = 1 << 40  # no message holds more; keeps products of hostile shapes small
# nor more of one axis, though beside an axis of 0 it takes no bytes; rows are counted in four bytes
_MAX_SIZE: Final = (1 << 31) - 1

Span = tuple[int, int]


class ParsedRequest:
    """A request as protobuf reads it, but for the raw tensors, which stay where they are.

    `raw` are their (offset, length) in `message`; `head` is all else.
    """

    __slots__ = ("head", "head_bytes", "message", "raw")

    def __init__(self, message: bytes) -> None:
        """Raises InvalidRequest where the bytes are no ModelInferRequest."""
        try:
            split = split_field(message, _RAW_INPUT_CONTENTS)
            self.head = ModelInferRequest.FromString(message if split is None else split[0])
        except (DecodeError, Malformed) as error:
            raise InvalidRequest(f"the message is not a ModelInferRequest: {error}") from None
        if split is None:  # too many fields to walk: lay the raw tensors out anew
            raw = list(self.head.raw_input_contents)
            self.message = b"".join(raw)
            self.raw = _spans(raw)
            self.head.ClearField("raw_input_contents")
        else:
            self.message = message
            self.raw = split[1]
        self.head_bytes = len(message) if split is None else len(split[0])


def _spans(parts: list[bytes]) -> list[Span]:
    spans = []
    at = 0
    for part in parts:
        spans.append((at, len(part)))
        at += len(part)
    return spans


class BoundInput:
    """One input of a checked request: what it is and, if raw, where it stands in the message."""

    __slots__ = ("datatype", "name", "shape", "span", "tensor")

    def __init__(self, tensor: Any, span: Span | None) -> None:
        self.tensor = tensor
        self.span = span
        self.name = tensor.name
        self.datatype = tensor.datatype
        self.shape = tuple(tensor.shape)

    def array(self, message: bytes) -> Array:
        """The tensor; a view of the message where it can be."""
        if self.span is None:
            return decode_typed(self.tensor.contents, self.datatype, self.shape, self.name)
        return decode_raw(message, *self.span, self.datatype, self.shape, self.name)


def bind(parsed: ParsedRequest, signature: Signature) -> tuple[RequestForm, list[BoundInput]]:
    """Checks all but the tensors' elements; the inputs are in the signature's order."""
    head = parsed.head
    try:
        inputs = _bind_inputs(parsed, signature)
        rows = _check_rows(inputs, signature)
        parameters = read_parameters(head.parameters)
        form = RequestForm(
            names=tuple(i.name for i in inputs),
            key=tuple((i.name, i.shape[1:] if signature.batched else i.shape) for i in inputs),
            rows=rows,
            input_bytes=sum(i.span[1] if i.span else i.tensor.contents.ByteSize() for i in inputs),
            outputs=_requested_outputs(head, signature),
            parameters=parameters,
            priority=whole_number(parameters, "priority"),
            timeout_s=whole_number(parameters, "timeout") / 1e6,
        )
    except InvalidRequest as error:
        raise InvalidRequest(with_request_id(head.id, str(error))) from None
    return form, inputs


def with_request_id(request_id: str, text: str) -> str:
    """The text of an error about a request's content."""
    return f"[request id: {request_id or '<id_unknown>'}] {text}"


def _bind_inputs(parsed: ParsedRequest, signature: Signature) -> list[BoundInput]:
    model = signature.model
    found = {}
    spans = iter(parsed.raw)
    for tensor in parsed.head.inputs:
        if tensor.name in found:
            raise InvalidRequest(
                f"input '{tensor.name}' already exists in request for model '{model}'"
            )
        if tensor.name not in signature.inputs:
            raise InvalidRequest(
                f"unexpected inference input '{tensor.name}' for model '{model}' (inputs: "
                f"{listed(signature.input_names)})"
            )
        found[tensor.name] = _bind_input(tensor, spans, signature, raw=bool(parsed.raw))
    if (left := sum(1 for _ in spans)) > 0:
        raise InvalidRequest(
            f"raw_input_contents has {len(parsed.raw)} entries, {left} more than the request "
            f"has inputs for model '{model}'"
        )
    if not signature.required <= found.keys():
        raise _missing_inputs(found, signature)
    return [found[name] for name in signature.input_names if name in found]


def _missing_inputs(found: Collection[str], signature: Signature) -> InvalidRequest:
    missing = [
        name for name in signature.input_names if name in signature.required and name not in found
    ]
    return InvalidRequest(
        f"expected {len(signature.required)} inputs but got {len(found)} inputs for model "
        f"'{signature.model}'. Got input(s) {sorted(found)}, but missing required input(s) "
        f"{missing}. Please provide all required input(s)."
    )


def _bind_input(tensor: Any, spans: Any, signature: Signature, *, raw: bool) -> BoundInput:
    name = tensor.name
    model = signature.model
    spec = signature.inputs[tensor.name]
    if "shared_memory_region" in tensor.parameters:
        raise Unsupported(
            f"input '{name}' is in shared memory, which this server does not serve: "
            "send it in raw_input_contents"
        )
    if tensor.datatype != spec.datatype:
        raise InvalidRequest(
            f"inference input '{name}' data-type is '{tensor.datatype}', but model "
            f"'{model}' expects '{spec.datatype}'"
        )
    span = _find_data(tensor, spans, model, raw=raw)
    bound = BoundInput(tensor, span)
    _check_shape(bound, spec.shape, signature)
    expected = raw_size(bound.datatype, bound.shape)
    if span is not None and bound.datatype != BYTES and span[1] != expected:
        raise InvalidRequest(
            f"input byte size mismatch for input '{name}' for model '{model}'. "
            f"Expected {expected}, got {span[1]}"
        )
    return bound


def _find_data(tensor: Any, spans: Any, model: str, *, raw: bool) -> Span | None:
    """Where the tensor stands among the raw contents; None where its contents are typed."""
    typed = tensor.HasField("contents")
    if raw and typed:
        raise InvalidRequest(
            "contents field must not be specified when using raw_input_contents for "
            f"'{tensor.name}' for model '{model}'"
        )
    span: Span | None = next(spans, None) if raw else None
    is_empty = not raw and 0 in tensor.shape and tensor.datatype in ITEM_BYTES
    if span is None and not typed and not is_empty:
        raise InvalidRequest(
            f"unable to find data for input tensor '{tensor.name}' for model '{model}' in request."
        )
    return span


def _check_shape(bound: BoundInput, expected: tuple[int, ...], signature: Signature) -> None:
    shape = bound.shape
    elements = 1
    for size in shape:
        elements *= size
    if min(shape, default=0) < 0 or max(shape, default=0) > _MAX_SIZE or elements > _MAX_ELEMENTS:
        raise InvalidRequest(
            f"input '{bound.name}' for model '{signature.model}' has shape {shape_text(shape)}: "
            "sizes must be 0 or more and fit a message"
        )
    if not fits(shape, expected):
        raise InvalidRequest(
            f"unexpected shape for input '{bound.name}' for model '{signature.model}'. Expected "
            f"{shape_text(expected)}, got {shape_text(shape)}"
        )


def _check_rows(inputs: list[BoundInput], signature: Signature) -> int:
    """The rows of the batch axis, the same in all inputs and within the limit.

    1 where there is no batch axis.
    """
    if not signature.batched or not inputs:
        return 1
    rows: int = inputs[0].shape[0]
    for other in inputs[1:]:
        if other.shape[0] != rows:
            raise InvalidRequest(
                f"input '{other.name}' batch size does not match other inputs for "
                f"'{signature.model}': {other.shape[0]} rows, '{inputs[0].name}' has {rows}"
            )
    if signature.row_limit is not None and rows > signature.row_limit:
        raise InvalidRequest(
            f"inference request batch-size must be <= {signature.row_limit} for '{signature.model}'"
        )
    return rows


def _requested_outputs(head: ModelInferRequest, signature: Signature) -> tuple[int, ...]:
    if not head.outputs:
        return tuple(range(len(signature.outputs)))
    indexes = []
    for output in head.outputs:
        if output.name not in signature.output_index:
            raise InvalidRequest(
                f"unexpected inference output '{output.name}' for model '{signature.model}' "
                f"(outputs: {listed(signature.output_index)})"
            )
        if "shared_memory_region" in output.parameters:
            raise Unsupported(
                f"output '{output.name}' is asked for in shared memory, "
                "which this server does not serve"
            )
        indexes.append(signature.output_index[output.name])
    if len(set(indexes)) != len(indexes):
        raise InvalidRequest(f"an output is requested more than once for model '{signature.model}'")
    return tuple(indexes)
