"""Random elements, and even ones, of every datatype and shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.core.datatypes import BYTES, ITEM_BYTES, numpy_dtype
from gateway.onnx.random_values import LARGE, POSITIVE, SIGNED, EvenDraws, random_array

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)


@given(
    st.sampled_from([*sorted(ITEM_BYTES), BYTES]),
    SHAPES,
    st.sampled_from([SIGNED, POSITIVE, LARGE]),
    st.booleans(),
)
def test_an_array_has_the_datatype_and_the_shape_whoever_draws(datatype, shape, spread, even):
    draws = EvenDraws() if even else np.random.default_rng(0)
    array = random_array(datatype, shape, draws, spread, 10)
    assert array.shape == shape
    assert array.dtype == (object if datatype == "BYTES" else numpy_dtype(datatype))


@given(SHAPES, st.integers(2, 50))
def test_even_whole_numbers_stay_below_their_limit(shape, limit):
    numbers = np.asarray(EvenDraws().integers(0, limit, shape))
    assert numbers.shape == shape
    assert ((numbers >= 0) & (numbers < limit)).all()


def test_even_numbers_are_not_all_alike():
    assert len(np.unique(EvenDraws().standard_normal((2, 3), np.float32))) == 6
    assert EvenDraws().permutation(3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_no_elements_are_no_error(shape):
    assert EvenDraws().random(shape, np.float32).shape == shape
