"""Tensors as the protocol's raw bytes, and compared bit for bit.

No code of the gateway is used here, its codec least of all.
"""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np

BF16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = {
    "BOOL": np.dtype("?"), "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"), "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"), "BF16": BF16,
    "BYTES": np.dtype("O"),
}  # fmt: skip
_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(array: np.ndarray) -> str:
    """The protocol's name of the datatype; text of any kind is BYTES."""
    return "BYTES" if array.dtype.kind in "OUS" else _DATATYPES[array.dtype]


def raw(array: np.ndarray) -> bytes:
    """The tensor as raw contents."""
    if datatype_of(array) != "BYTES":
        return array.tobytes()
    elements = [
        element if isinstance(element, bytes) else str(element).encode()
        for element in array.ravel()
    ]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def from_raw(data: bytes, datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of raw contents; BYTES become an array of bytes objects."""
    if datatype != "BYTES":
        return np.frombuffer(data, DTYPES[datatype]).reshape(shape)
    elements = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        elements.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def difference(got: np.ndarray, want: np.ndarray) -> str:
    """How two tensors differ; empty where they are the same bit for bit (text as bytes)."""
    if got.shape != want.shape:
        return f"shape {got.shape} instead of {want.shape}"
    if datatype_of(got) != datatype_of(want):
        return f"{datatype_of(got)} instead of {datatype_of(want)}"
    if raw(got) == raw(want):
        return ""
    apart = [
        i
        for i, (a, b) in enumerate(zip(got.ravel(), want.ravel(), strict=True))
        if raw(np.array(a)) != raw(np.array(b))
    ]
    return (
        (
            f"{len(apart)} of {want.size} elements, first {got.ravel()[apart[0]]!r} instead "
            f"of {want.ravel()[apart[0]]!r}"
        )
        if apart
        else "contents"
    )
