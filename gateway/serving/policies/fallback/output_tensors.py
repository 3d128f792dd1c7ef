"""Values that people write, as tensors of an output.

They stand in the configuration, or are what a function of theirs returns in a serving process.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Final

import numpy as np

from gateway.core.datatypes import BF16, BYTES, numpy_dtype
from gateway.core.plan import TensorSpec
from gateway.core.request import Array
from gateway.protocol.signature import fits, shape_text

_REALS: Final = frozenset({"FP16", "FP32", "FP64", BF16})


def output_tensor(value: object, spec: TensorSpec) -> Array:
    """The value as an array of the output's datatype.

    Raises ValueError, naming the output, where that would change it.

    Numbers are rounded to a narrower floating point type, and refused where they do not fit
    it. The shape is not looked at.
    """
    try:
        if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "OUST":
            return _of_numbers(np.asarray(value), spec.datatype)
        return _of_objects(np.array(value, dtype=object), spec.datatype)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"output '{spec.name}' is {spec.datatype}: {error}") from None


def check_shape(shape: tuple[int, ...], spec: TensorSpec, rows: int = -1) -> None:
    """Raises ValueError, naming the output, where the shape is none of its.

    Or the first size is not `rows` (-1: there is no batch axis).
    """
    expected = (rows, *spec.shape[1:]) if rows >= 0 and spec.shape else spec.shape
    if not fits(shape, expected) or (rows >= 0 and shape[:1] != (rows,)):
        raise ValueError(
            f"output '{spec.name}' has shape {shape_text(shape)}, expected {shape_text(expected)}"
        )


def _of_numbers(array: Array, datatype: str) -> Array:
    wanted = _dtype(datatype)
    if array.dtype == wanted:
        return array
    if datatype in _REALS and (array.dtype.kind in "fiu" or array.dtype == numpy_dtype(BF16)):
        return _rounded(array, wanted)
    if wanted.kind in "iu" and array.dtype.kind in "iu":
        narrow = array.astype(wanted)
        if np.array_equal(array, narrow):
            return narrow
        raise ValueError("a number does not fit it")
    raise ValueError(f"{array.dtype} is none")


def _dtype(datatype: str) -> np.dtype[Any]:
    return numpy_dtype(datatype)


def _rounded(array: Array, wanted: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        narrow = array.astype(wanted)
    if not np.array_equal(np.isfinite(array), np.isfinite(narrow)):
        raise ValueError("a number does not fit it")
    return narrow


def _of_objects(boxed: Array, datatype: str) -> Array:
    wanted = _dtype(datatype)
    if datatype == BYTES:
        for element in _checked(boxed, str, "a string"):
            element.encode()  # half a surrogate pair is found here, not when a caller is answered
        return boxed
    if wanted.kind == "b":
        return np.array(list(_checked(boxed, bool | np.bool_, "true or false")), wanted).reshape(
            boxed.shape
        )
    if datatype in _REALS:
        return _rounded(
            np.array([float(element) for element in _checked(boxed, Real, "a number")]).reshape(
                boxed.shape
            ),
            wanted,
        )
    numbers = [int(element) for element in _checked(boxed, Integral, "a whole number")]
    limits = np.iinfo(wanted)
    if numbers and not (limits.min <= min(numbers) and max(numbers) <= limits.max):
        raise ValueError("a number does not fit it")
    return np.array(numbers, wanted).reshape(boxed.shape)


def _checked(boxed: Array, kind: Any, text: str) -> Iterator[Any]:
    for element in boxed.flat:
        if isinstance(element, list | tuple):
            # it is a value of the configuration
            raise ValueError("nested lists of one level are of different lengths")  # noqa: TRY004
        if not isinstance(element, kind) or (
            isinstance(element, bool) and kind in (Real, Integral)
        ):
            raise ValueError(f"{reprlib.repr(element)} is not {text}")
        yield element
