"""Values that people give on the command line, or in a file named there, as tensors of a model.

They get the model's datatype and shape, or a sentence that says why they do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.cli.command_errors import CommandError
from gateway.cli.parser import nearest
from gateway.core.datatypes import BF16, BYTES, numpy_dtype
from gateway.core.plan import TensorSpec
from gateway.core.request import Array
from gateway.protocol.signature import fits, shape_text

_INTEGERS: Final = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_EXACT: Final = 2.0**53  # floats beyond it skip whole numbers


def make_tensors(
    values: Mapping[str, Any], specs: Sequence[TensorSpec], source: str
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The inputs by name, in the model's order, and the names in `values` that are no inputs.

    Raises `CommandError` with all that does not fit.
    """
    strangers = _strangers(values, [spec.name for spec in specs], source)
    tensors: dict[str, Array] = {}
    faults: list[str] = []
    for spec in specs:
        if spec.name in values:
            try:
                tensors[spec.name] = make_tensor(values[spec.name], spec)
            except ValueError as error:
                faults.append(f"{source}: input '{spec.name}': {error}")
    if faults:
        raise CommandError(faults)
    return tensors, strangers


def _strangers(values: Mapping[str, Any], names: Sequence[str], source: str) -> tuple[str, ...]:
    """The names in `values` that are no inputs.

    Raises `CommandError` where one is a misspelt input, and where there is no input at all.
    """
    strangers = tuple(name for name in values if name not in names)
    missing = [name for name in names if name not in values]
    misspelt = [
        f"{source}: '{name}' is no input of the model{hint}"
        for name in strangers
        if (hint := nearest(name, missing))
    ]
    if misspelt:
        raise CommandError(misspelt)
    if names and len(missing) == len(names):
        raise CommandError(
            f"{source}: has none of the model's inputs ({', '.join(names)}), only "
            f"{', '.join(strangers) or 'nothing'}"
        )
    return strangers


def make_tensor(values: Any, spec: TensorSpec) -> Array:
    """Nested lists or an array as one input; raises ValueError."""
    return fit_shape(
        _texts(values) if spec.datatype == BYTES else _numbers(values, spec.datatype), spec.shape
    )


def make_zeros(spec: TensorSpec, rows: int) -> Array:
    """An input of zeros, or of empty texts; free sizes are 1, but the first, which is `rows`."""
    free = [rows, *[1] * len(spec.shape)]
    shape = [size if size >= 0 else free[axis] for axis, size in enumerate(spec.shape)]
    return (
        np.full(shape, "", object)
        if spec.datatype == BYTES
        else np.zeros(shape, numpy_dtype(spec.datatype))
    )


def fit_shape(array: Array, shape: tuple[int, ...]) -> Array:
    """The array in the shape, where -1 is free; raises ValueError.

    A first or a last axis of size 1 may be missing in the array.
    """
    last = [(*array.shape, 1)] if shape[-1:] == (1,) else []
    for candidate in (array.shape, *last, (1, *array.shape)):
        if fits(candidate, shape):
            return array.reshape(candidate)
    if array.size == 1 and all(size in (-1, 1) for size in shape):
        return array.reshape((1,) * len(shape))
    raise ValueError(
        f"has the shape {shape_text(array.shape)}, the model takes "
        f"{shape_text(shape)} (-1: any size)"
    )


def _texts(values: Any) -> Array:
    array = (
        np.array(values, object) if not isinstance(values, np.ndarray) else values.astype(object)
    )
    if odd := [element for element in array.ravel() if not isinstance(element, str | bytes)]:
        raise ValueError(
            "has rows of different lengths"
            if isinstance(odd[0], list)
            else f"takes texts, got {odd[0]!r}"
        )
    return array


def _numbers(values: Any, datatype: str) -> Array:
    known = isinstance(values, np.ndarray) and values.dtype != object
    wide = values if known else _python_numbers(values, datatype)
    if wide.dtype.kind not in "biufO" and wide.dtype.name != "bfloat16":
        raise ValueError(f"takes numbers ({datatype}), got an array of {wide.dtype}")
    if datatype == "BOOL":
        return _booleans(wide)
    return _whole_numbers(wide, datatype) if datatype in _INTEGERS else _floats(wide, datatype)


def _python_numbers(values: Any, datatype: str) -> Array:
    """Python's own numbers, kept as they are, in an array of objects.

    Numpy would make floats of whole numbers beyond 63 bits.
    """
    array = np.array(values, object)
    if odd := [element for element in array.ravel() if not isinstance(element, int | float)]:
        raise ValueError(
            "has rows of different lengths"
            if isinstance(odd[0], list)
            else f"takes numbers ({datatype}), got {odd[0]!r}"
        )
    return array


def _booleans(wide: Array) -> Array:
    if odd := [element for element in wide.ravel().tolist() if element not in (0, 1)]:
        raise ValueError(f"takes true or false, got {odd[0]!r}")
    return wide.astype(np.bool_)


def _whole_numbers(wide: Array, datatype: str) -> Array:
    bounds = np.iinfo(numpy_dtype(datatype))
    if wide.dtype.kind in "biu" and np.can_cast(wide.dtype, numpy_dtype(datatype)):
        return wide.astype(numpy_dtype(datatype))
    for element in wide.ravel().tolist():
        fraction = isinstance(element, float) and not (
            element.is_integer() and abs(element) <= _EXACT
        )
        if fraction or not bounds.min <= element <= bounds.max:
            raise ValueError(
                f"takes whole numbers of {bounds.min} to {bounds.max} ({datatype}), got {element!r}"
            )
    return wide.astype(numpy_dtype(datatype))


def _floats(wide: Array, datatype: str) -> Array:
    if wide.dtype == object:
        try:
            wide = wide.astype(np.float64)
        except OverflowError as error:
            raise ValueError(f"a number is too large for {datatype}") from error
    with np.errstate(over="ignore"):
        narrow = wide.astype(numpy_dtype(datatype))
    if (
        datatype != BF16
        and wide.dtype.name != "bfloat16"
        and (lost := np.isinf(narrow) & ~np.isinf(wide)).any()
    ):
        raise ValueError(f"{wide[lost].ravel()[0]!s} is too large for {datatype}")
    return narrow
