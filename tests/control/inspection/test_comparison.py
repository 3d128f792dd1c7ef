"""How differences between outputs are counted."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.control.inspection.comparison import TOLERANCE, difference, differs, tells

floats = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.floats(width=32)
)


@given(floats)
def test_an_output_does_not_differ_from_itself_whatever_it_holds(array):
    assert difference(array.copy(), array) == 0.0


@given(floats, st.floats(1e-3, 1e3), st.data())
def test_the_difference_is_a_part_of_the_largest_value(array, far, data):
    finite = np.where(np.isfinite(array), np.clip(array, -1, 1), 0).astype(np.float64)
    if not finite.size:
        return
    place = tuple(data.draw(st.integers(0, size - 1)) for size in finite.shape)
    other = finite.copy()
    other[place] += far

    largest = max(np.abs(finite).max(), np.abs(other).max())

    assert difference(other, finite) == pytest.approx(abs(other[place] - finite[place]) / largest)


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [-math.inf], [2.0]])
def test_nan_and_infinity_equal_nothing_but_themselves(values):
    assert difference(np.array(values, np.float32), np.array([1.0], np.float32)) == (
        0.5 if values == [2.0] else math.inf
    )


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([True]), np.array([False])),
        (np.array(["a"], object), np.array(["b"], object)),
        (np.zeros(2, np.float32), np.zeros(3, np.float32)),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
    ],
)
def test_what_is_no_float_is_equal_or_infinitely_far_and_so_are_other_shapes(got, want):
    assert difference(got, want) == math.inf
    assert difference(want, want) == 0.0


def test_half_precision_is_compared_in_a_width_that_holds_the_difference():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        most = np.array([60000], dtype)
        assert difference(-most, most) == pytest.approx(2.0)
        assert difference(most, most) <= TOLERANCE


@pytest.mark.parametrize(
    ("values", "told"), [([math.nan, math.inf], False), ([math.nan, 1.0], True), ([], True)]
)
def test_an_output_that_is_finite_nowhere_tells_nothing(values, told):
    assert tells(np.array(values, np.float32)) is told
    assert tells(np.array([1]))


@pytest.mark.parametrize(
    ("rows", "differ"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], False),
        ([[1.0, 2.0], [1.0, 3.0]], True),
        ([[math.nan], [math.nan]], False),
        ([[math.nan], [1.0]], True),
        ([["a"], ["a"]], False),
        ([["a"], ["b"]], True),
        ([[], []], True),
    ],
)
def test_rows_differ_where_any_element_does(rows, differ):
    array = np.array(rows)
    assert differs(array) is differ
