"""How far one output is from another, as batching evidence counts it (inspection process)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TOLERANCE = 1e-5
"""The largest difference that batching may make, as a part of the output's largest value."""


def difference(got: Array, want: Array) -> float:
    """The largest difference of two outputs as a part of their largest value.

    It is infinite where they cannot be compared. NaN equals NaN and nothing else, an infinity only
    itself. Integers, booleans and strings are equal or infinitely far apart: a class that flips on
    a near tie is another answer.
    """
    if got.shape != want.shape or got.dtype != want.dtype:
        return math.inf
    if want.dtype.kind in "biuOUS":
        return 0.0 if np.array_equal(got, want) else math.inf
    got = _wide(got)
    want = _wide(want)
    differs = ~((got == want) | (np.isnan(got) & np.isnan(want)))
    if not differs.any():
        return 0.0
    with np.errstate(invalid="ignore"):
        apart = np.abs(got[differs] - want[differs]).max()
    if not np.isfinite(apart):
        return math.inf
    largest = max(np.abs(array[np.isfinite(array)]).max() for array in (got, want))
    return float(apart / largest)


def tells(output: Array) -> bool:
    """Whether an output shows anything; one that is NaN or infinite all over does not."""
    return (
        output.size == 0 or output.dtype.kind in "biuOUS" or bool(np.isfinite(_wide(output)).any())
    )


def differs(output: Array) -> bool:
    """The rows of an output are not all alike; rows that are say nothing of one another.

    Where rows have no elements there is nothing to differ in, and they count as differing.
    """
    first = output[:1]
    if first.size == 0:
        return True
    same = output == first
    if output.dtype.kind not in "biuOUS":
        same |= np.isnan(_wide(output)) & np.isnan(_wide(first))
    return not np.all(same)


def _wide(array: Array) -> Array:
    """The values in a width that holds every difference; FP16 and BF16 could overflow."""
    return array.astype(np.float64)
