"""Random values for sample inputs, in the serving process and the inspection process.

Rows are distinct and of different scale, because what looks over a batch hides behind rows that are
alike (see `gateway.onnx.samples`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from gateway.core.datatypes import BF16, BYTES, numpy_dtype

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Draws(Protocol):
    """What samples ask of a source of numbers: numpy's Generator, or `EvenDraws`."""

    def permutation(self, x: Any, /) -> Array:
        """The elements, or the numbers below `x`, in another order."""
        ...

    def integers(self, low: int, high: Any, size: Any = None, /) -> Any:
        """Whole numbers from `low` to below `high`."""
        ...

    def random(self, size: Any, dtype: Any, /) -> Array:
        """Numbers from 0 to 1."""
        ...

    def standard_normal(self, size: Any, dtype: Any, /) -> Array:
        """Numbers around 0."""
        ...


class EvenDraws:
    """Numbers in even steps, for runs whose answers nobody looks at.

    Importing numpy.random takes 10 ms, which the first answer of a serving process would wait for.
    """

    def permutation(self, x: Any, /) -> Array:
        """The same order."""
        return np.arange(x) if isinstance(x, int) else np.asarray(x)

    def integers(self, low: int, high: Any, size: Any = None, /) -> Any:
        """From `low` on, beginning anew at `high`."""
        shape = () if size is None else size
        count = int(np.prod(shape, dtype=np.int64))
        return low + np.arange(count).reshape(shape) % (np.asarray(high) - low)

    def random(self, size: Any, dtype: Any, /) -> Array:
        """From 0 up to 1, over all elements."""
        count = int(np.prod(size, dtype=np.int64))
        steps = np.arange(count).reshape(size)
        return np.asarray(steps / max(count, 1), dtype)

    def standard_normal(self, size: Any, dtype: Any, /) -> Array:
        """From -1 up to 1, over all elements."""
        return np.asarray(2 * self.random(size, np.float64) - 1, dtype)


class Spread(NamedTuple):
    """How floating point is spread: the powers of ten of the smallest and the largest row.

    Normal, or uniform from 0 where it is `positive`.
    """

    least: float
    most: float
    positive: bool = False


SIGNED: Final = Spread(-2, 1)
POSITIVE: Final = Spread(-1, 0, positive=True)
LARGE: Final = Spread(0, 4)

INTEGER_LIMIT: Final = 10
"""Integers lie below it, where nothing is known of them."""
_BYTE_LIMIT: Final = 256  # of UINT8 in its place: bytes of images use their whole range
_WORDS: Final = ("red", "grün", "blue", "東京", "no", "yes", "alpha", "beta")


def is_float(datatype: str) -> bool:
    """The protocol's datatype is one of floating point."""
    return datatype == BF16 or datatype.startswith("FP")


def random_array(
    datatype: str, shape: Shape, rng: Draws, spread: Spread, integer_limit: int
) -> Array:
    """Random elements of the protocol's datatype, the first axis being rows.

    `spread` is that of floating point. Integers lie below `integer_limit`.
    """
    if datatype == BYTES:
        return _strings(shape, rng)
    if datatype == "BOOL":
        return np.asarray(rng.integers(0, 2, shape), np.bool_)
    if not is_float(datatype):
        return _integers(datatype, shape, rng, integer_limit)
    rows = shape[0] if shape else 1
    scales = np.ones(rows)
    if rows > 1:
        scales = 10 ** rng.permutation(np.linspace(spread.least, spread.most, rows))
    drawn = rng.random if spread.positive else rng.standard_normal
    return np.asarray(drawn(shape, np.float32) * _per_row(scales, shape), numpy_dtype(datatype))


def _integers(datatype: str, shape: Shape, rng: Draws, limit: int) -> Array:
    """Small integers, each row with a limit of its own, neighbours beginning differently."""
    most = _BYTE_LIMIT if datatype == "UINT8" and limit == INTEGER_LIMIT else limit
    rows = shape[0] if shape else 1
    limits = np.full(rows, most)
    if rows > 1:
        limits = rng.permutation(np.linspace(min(2, most), most, rows)).astype(np.int64)
    values = rng.integers(0, _per_row(limits, shape), shape) if shape else rng.integers(0, most, ())
    array = np.asarray(values, np.int64)
    if array.ndim and array.size:
        array.reshape(rows, -1)[:, 0] = np.arange(rows) % most
    return array.astype(numpy_dtype(datatype))


def _strings(shape: Shape, rng: Draws) -> Array:
    count = int(np.prod(shape, dtype=np.int64))
    array = np.empty(count, object)
    array[:] = [
        f"{_WORDS[int(choice)]} {i}" for i, choice in enumerate(rng.integers(0, len(_WORDS), count))
    ]
    return array.reshape(shape)


def _per_row(values: Array, shape: Shape) -> Array:
    """One value a row, shaped to multiply rows; the plain value for rank 0."""
    return values.reshape(-1, *(1,) * (len(shape) - 1)) if shape else values[0]
