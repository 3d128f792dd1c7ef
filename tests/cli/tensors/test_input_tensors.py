"""Values become tensors of the model's datatypes and shapes."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.cli.tensors.input_tensors import fit_shape, make_tensor, make_zeros
from gateway.core.datatypes import ITEM_BYTES, numpy_dtype
from gateway.core.plan import TensorSpec

INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
DATATYPES = (*ITEM_BYTES, "BYTES")


# the time that other programs take on the machine is no fault of the tensors
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_an_array_says_as_lists_comes_back_as_the_array(data):
    """Nested lists and the array itself give the same tensor.

    This is tried for every datatype but BF16, and for every rank.
    """
    datatype = data.draw(st.sampled_from([name for name in DATATYPES if name != "BF16"]))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
    if datatype == "BYTES":
        elements = data.draw(
            st.lists(
                st.text(max_size=5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))
            )
        )
        array = np.empty(len(elements), object)
        array[:] = elements
        array = array.reshape(shape)
    else:
        array = data.draw(
            hnp.arrays(
                numpy_dtype(datatype),
                shape,
                elements={"allow_nan": False} if datatype.startswith("FP") else None,
            )
        )
    spec = TensorSpec("x", datatype, tuple(-1 for _ in shape))
    for values in (array.tolist(), array):
        tensor = make_tensor(values, spec)
        assert tensor.dtype == numpy_dtype(datatype)
        assert tensor.shape == array.shape
        assert (tensor == array).all()


@given(st.sampled_from(INTEGERS), st.integers(-(2**65), 2**65))
def test_a_whole_number_is_taken_exactly_or_refused(datatype, number):
    bounds = np.iinfo(numpy_dtype(datatype))
    if bounds.min <= number <= bounds.max:
        assert int(make_tensor([number], TensorSpec("x", datatype, (-1,)))[0]) == number
    else:
        with pytest.raises(
            ValueError, match=r"takes whole numbers of -?\d+ to \d+ \(U?INT\d+\), got "
        ):
            make_tensor([number], TensorSpec("x", datatype, (-1,)))


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), 1e300, 2.0**60])
def test_a_fraction_is_no_whole_number_and_neither_is_what_a_float_has_rounded(value):
    with pytest.raises(ValueError, match="takes whole numbers of"):
        make_tensor([1.0, value], TensorSpec("x", "INT64", (-1,)))


def test_whole_numbers_may_be_written_as_floats():
    assert make_tensor([1.0, -3.0], TensorSpec("x", "INT8", (-1,))).tolist() == [1, -3]


@pytest.mark.parametrize(
    ("value", "taken"), [(True, True), (0, False), (1, True), (2, None), (0.5, None)]
)
def test_truth_is_true_false_one_or_zero(value, taken):
    spec = TensorSpec("x", "BOOL", (-1,))
    if taken is None:
        with pytest.raises(ValueError, match="takes true or false, got"):
            make_tensor([value], spec)
    else:
        assert make_tensor([value], spec).tolist() == [taken]


def test_small_floats_hold_what_they_can_and_refuse_what_they_cannot():
    assert make_tensor([1.5, float("inf")], TensorSpec("x", "FP16", (-1,))).tolist() == [
        1.5,
        float("inf"),
    ]
    with pytest.raises(
        ValueError, match=r"1e\+06 is too large for FP16|1000000.0 is too large for FP16"
    ):
        make_tensor([1e6], TensorSpec("x", "FP16", (-1,)))
    tensor = make_tensor([1.5, -2], TensorSpec("x", "BF16", (-1,)))
    assert tensor.dtype == ml_dtypes.bfloat16
    assert tensor.astype("f4").tolist() == [1.5, -2.0]
    assert make_tensor(tensor, TensorSpec("x", "FP32", (-1,))).tolist() == [1.5, -2.0]


@pytest.mark.parametrize("values", [[1], [None], [True], [["a"], ["b", "c"]], [{"a": 1}]])
def test_what_is_no_text_is_not_taken_for_one(values):
    with pytest.raises(ValueError, match=r"takes texts, got|rows of different lengths"):
        make_tensor(values, TensorSpec("x", "BYTES", (-1,)))


@pytest.mark.parametrize(
    ("given_shape", "wanted", "result"),
    [
        ((3, 4), (-1, 4), (3, 4)),
        ((4,), (-1, 4), (1, 4)),
        ((8, 8), (-1, 8, 8), (1, 8, 8)),
        ((5,), (-1, 1), (5, 1)),
        ((5,), (-1, -1), (1, 5)),
        ((), (-1,), (1,)),
        ((), (-1, 1), (1, 1)),
        ((), (), ()),
        ((0, 4), (-1, 4), (0, 4)),
        ((3,), (-1, 4), None),
        ((2, 3, 4), (-1, 4), None),
        ((3, 4), (4,), None),
    ],
)
def test_an_axis_of_one_may_be_left_out_and_nothing_else(given_shape, wanted, result):
    array = np.zeros(given_shape)
    if result is None:
        with pytest.raises(ValueError, match="has the shape"):
            fit_shape(array, wanted)
    else:
        assert fit_shape(array, wanted).shape == result


@pytest.mark.parametrize("datatype", DATATYPES)
def test_made_up_inputs_have_the_rows_that_were_asked_for(datatype):
    made = make_zeros(TensorSpec("x", datatype, (-1, 3, -1)), 5)
    assert made.shape == (5, 3, 1)
    assert made.dtype == numpy_dtype(datatype)
    assert make_zeros(TensorSpec("x", datatype, (2, -1)), 5).shape == (2, 1)
