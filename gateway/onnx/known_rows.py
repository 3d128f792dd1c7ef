"""Numbers that a graph holds, as trial rows for its inputs; in the inspection process.

Means, support vectors, centres and the rows of neighbours lie where the model was trained, which
random rows may not: a Gaussian classifier answers all of these alike. Rows between two of them are
tried as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from gateway.core.datatypes import datatype_of_onnx, numpy_dtype
from gateway.core.plan import GraphTensor
from gateway.onnx.random_values import is_float
from gateway.onnx.wire_fields import Bytes, fields_of, first_value, integers

Array = np.ndarray[Any, Any]

# fields of TensorProto, and its types by number
_DIMS: Final = 1
_TYPE: Final = 2
_FLOAT_DATA: Final = 4
_RAW_DATA: Final = 9
_DOUBLE_DATA: Final = 10
_TYPES: Final[dict[int, tuple[np.dtype[Any], int]]] = {
    1: (np.dtype("<f4"), _FLOAT_DATA),
    11: (np.dtype("<f8"), _DOUBLE_DATA),
}

_MOST_ROWS: Final = 100


def constant(tensor: Bytes) -> Array | None:
    """A TensorProto of floats with rows; None: it is another one. Raises `OnnxFileFault`."""
    kind = first_value(tensor, _TYPE)
    shape = tuple(integers(tensor, _DIMS))
    if len(kind) != 1 or kind[0] not in _TYPES or len(shape) < 2:  # noqa: PLR2004
        return None
    dtype, field = _TYPES[kind[0]]
    raw = first_value(tensor, _RAW_DATA) or b"".join(
        part.value for part in fields_of(tensor, field)
    )
    if min(shape) < 1 or math.prod(shape) * dtype.itemsize != len(raw):
        return None
    return np.frombuffer(raw, dtype).reshape(shape)


def known_rows(inputs: Sequence[GraphTensor], tables: Iterable[Array]) -> dict[str, Array]:
    """Rows for each input of floats that is a table, from constants with as many columns."""
    rng = np.random.default_rng(0)
    found = list(tables)
    rows: dict[str, Array] = {}
    for tensor in inputs:
        datatype = datatype_of_onnx(tensor.onnx_type)
        if datatype is None or not is_float(datatype) or len(tensor.shape) != 2:  # noqa: PLR2004
            continue
        wide = [table.reshape(-1, table.shape[-1]) for table in found]
        fitting = [table[:_MOST_ROWS] for table in wide if table.shape[1] == tensor.shape[1]]
        # between rows of one table: those of another may be weights or variances
        pairs = [(table, (table + rng.permutation(table)) / 2) for table in fitting]
        if pairs:
            both = np.concatenate([half for pair in pairs for half in pair])
            rows[tensor.name] = both.astype(numpy_dtype(datatype))
    return rows
