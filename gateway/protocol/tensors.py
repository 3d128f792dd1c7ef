"""Tensor contents, raw and typed, to numpy arrays and back, in every process that holds tensors.

Raw: little-endian, row-major; BYTES elements each behind a 4-byte little-endian length
(`serialize_byte_tensor` of Triton's client). BYTES become arrays of `str`: ONNX strings are UTF-8,
and ONNX Runtime's Python API carries no others.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from gateway.core.datatypes import BYTES, ITEM_BYTES, numpy_dtype
from gateway.core.errors import InvalidRequest
from gateway.core.request import Array

_LENGTH = struct.Struct("<I")
_TYPED: Final[dict[str, str]] = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", BYTES: "bytes_contents",
}  # fmt: skip

# Named, not left to numpy: it takes whole numbers beyond 63 bits for float64.
_TYPED_DTYPE: Final[dict[str, str]] = {
    "bool_contents": "?", "int_contents": "<i4", "int64_contents": "<i8", "uint_contents": "<u4",
    "uint64_contents": "<u8", "fp32_contents": "<f4", "fp64_contents": "<f8",
}  # fmt: skip


def element_count(shape: tuple[int, ...]) -> int:
    """Elements in a tensor of this shape; 1 for rank 0."""
    count = 1
    for size in shape:
        count *= size
    return count


def raw_size(datatype: str, shape: tuple[int, ...]) -> int:
    """Bytes of raw contents; -1 for BYTES, whose elements bring their own lengths."""
    return -1 if datatype == BYTES else element_count(shape) * ITEM_BYTES[datatype]


def decode_raw(
    message: bytes, offset: int, length: int, datatype: str, shape: tuple[int, ...], name: str
) -> Array:
    """A tensor out of raw contents that stand in the message.

    It is a read-only view of the message, or for BYTES a new array of `str`.
    """
    if datatype == BYTES:
        return _decode_strings(message, offset, length, shape, name)
    if length == 0:
        return np.empty(shape, numpy_dtype(datatype))
    return np.ndarray(shape, numpy_dtype(datatype), message, offset)


def _decode_strings(
    message: bytes, offset: int, length: int, shape: tuple[int, ...], name: str
) -> Array:
    count = element_count(shape)
    end = offset + length
    out = np.empty(count, object)
    for i in range(count):
        start = offset + 4
        if start > end:
            raise _missing_strings(name, count, i)
        offset = start + _LENGTH.unpack_from(message, start - 4)[0]
        if offset > end:
            raise InvalidRequest(
                f"incomplete string data for input '{name}', element {i} reaches {offset - end} "
                "bytes past the tensor's end"
            )
        out[i] = decode_text(message[start:offset], name, i)
    if offset == end:
        return out.reshape(shape)
    raise InvalidRequest(
        f"unexpected number of string elements for input '{name}', expecting {count}, "
        f"got {end - offset} bytes more"
    )


def _missing_strings(name: str, count: int, found: int) -> InvalidRequest:
    return InvalidRequest(
        f"incomplete string length indicator for input '{name}', "
        f"expecting {count} elements, got {found}"
    )


def decode_text(element: bytes, name: str, index: int) -> str:
    """One BYTES element as text; raises InvalidRequest where it is not UTF-8."""
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"input '{name}': element {index} is not UTF-8 ({error.reason} at byte {error.start}); "
            "ONNX strings are UTF-8, send binary data as UINT8"
        ) from None


def encode_raw(array: Array, datatype: str) -> bytes:
    """Raw contents of a tensor."""
    if datatype != BYTES:
        return array.tobytes()
    parts: list[bytes] = []
    for element in array.ravel():
        data = element if isinstance(element, bytes) else str(element).encode()
        parts += (_LENGTH.pack(len(data)), data)
    return b"".join(parts)


def decode_typed(contents: Any, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """A tensor out of an `InferTensorContents`.

    Raises InvalidRequest where another field is filled or the count is wrong.
    """
    field = _typed_field(contents, datatype, name)
    values = getattr(contents, field)
    count = element_count(shape)
    if len(values) != count:
        raise InvalidRequest(
            f"unexpected number of elements for input '{name}': shape {list(shape)} has "
            f"{count}, '{field}' has {len(values)}"
        )
    if datatype == BYTES:
        out = np.empty(count, object)
        out[:] = [decode_text(element, name, i) for i, element in enumerate(values)]
        return out.reshape(shape)
    wide = np.array(values, dtype=_TYPED_DTYPE[field])
    narrow = wide.astype(numpy_dtype(datatype))
    if wide.dtype.kind in "iu" and not np.array_equal(wide, narrow):
        raise InvalidRequest(
            f"input '{name}' is {datatype}, and an element of '{field}' does not fit it"
        )
    return narrow.reshape(shape)


def _typed_field(contents: Any, datatype: str, name: str) -> str:
    """The field that holds elements of this datatype; raises InvalidRequest where it cannot be."""
    field = _TYPED.get(datatype)
    if field is None:
        raise InvalidRequest(
            f"input '{name}' is {datatype}, which has no typed contents: "
            "send it in raw_input_contents"
        )
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidRequest(
                f"input '{name}' is {datatype}: its elements belong in '{field}', "
                f"but '{other.name}' is filled"
            )
    return field


def fill_typed(contents: Any, array: Array, datatype: str) -> None:
    """Writes a tensor into an `InferTensorContents`.

    Raises InvalidRequest for the datatypes that only travel raw.
    """
    field = _TYPED.get(datatype)
    if field is None:
        raise InvalidRequest(
            f"an output of datatype {datatype} only travels raw: leave out binary_data_output=false"
        )
    flat = array.ravel()
    if datatype == BYTES:
        contents.bytes_contents.extend(e if isinstance(e, bytes) else str(e).encode() for e in flat)
    else:
        getattr(contents, field).extend(flat.tolist())
