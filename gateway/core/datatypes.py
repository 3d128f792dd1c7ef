"""The protocol's datatypes and the numpy dtypes that hold them, for every process.

Names and sizes: Open Inference Protocol, "Tensor Data Types"; BF16 is Triton's addition. BYTES
elements are of any length and are held as Python `str` objects in arrays of dtype object, because
ONNX strings are UTF-8.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    # 70 ms to import, and the control side, which starts first, needs only the names
    import numpy as np

BYTES: Final = "BYTES"
BF16: Final = "BF16"

ITEM_BYTES: Final[dict[str, int]] = {
    "BOOL": 1, "UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "INT8": 1, "INT16": 2, "INT32": 4,
    "INT64": 8, "FP16": 2, "FP32": 4, "FP64": 8, BF16: 2,
}  # fmt: skip
"""Bytes an element takes in raw contents.

BYTES is not here: its elements carry their own lengths.
"""

_NUMPY: Final[dict[str, str]] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
    BYTES: "O",
}  # fmt: skip

_ONNX: Final[dict[str, str]] = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float": "FP32", "double": "FP64", "bfloat16": BF16, "string": BYTES,
}  # fmt: skip


@functools.cache
def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The dtype of arrays that hold this datatype.

    KeyError for a name the protocol does not have.
    """
    import numpy as np  # noqa: PLC0415  # see above

    if datatype == BF16:
        import ml_dtypes  # noqa: PLC0415  # only models with BF16 need it

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(_NUMPY[datatype])


def datatype_of_onnx(onnx_type: str) -> str | None:
    """The datatype for ONNX Runtime's type text (`tensor(float)`).

    None where the protocol has none (sequences, maps, complex, FP8).
    """
    return _ONNX.get(onnx_type[7:-1]) if onnx_type.startswith("tensor(") else None
