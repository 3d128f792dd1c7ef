"""Names of classes and columns: beside the model first, then in its file."""

import pytest

from gateway.control.models.planning.tensor_names import with_columns, with_labels
from gateway.core.plan import TensorSpec

X = TensorSpec("x", "FP32", (-1, 2))
Y = TensorSpec("y", "FP32", (-1, 2))


def test_columns_of_the_file_beside_the_model_win_over_those_in_it():
    (x,), warnings = with_columns([X], ("a", "b"), {"x": ("c", "d")})
    assert (x.columns, warnings) == (("a", "b"), ())


def test_without_a_file_beside_the_model_its_own_columns_hold():
    (x,), warnings = with_columns([X], (), {"x": ("c", "d")})
    assert (x.columns, warnings) == (("c", "d"), ())


@pytest.mark.parametrize(
    ("inputs", "columns", "fits"),
    [([X], ("a", "b", "c"), 0), ([X, TensorSpec("z", "FP32", (-1, 2))], ("a", "b"), 2)],
)
def test_columns_that_fit_no_input_or_several_are_a_warning(inputs, columns, fits):
    named, (warning,) = with_columns(inputs, columns, {})
    assert all(spec.columns == () for spec in named)
    assert warning.startswith(f"columns.txt has {len(columns)} lines and fits {fits} inputs")


def test_labels_of_the_file_beside_the_model_win_over_those_in_it():
    (y,), files, warnings = with_labels([Y], [], {"labels.txt": ("a", "b")}, {"y": ("c", "d")})
    assert (y.labels, files, warnings) == (("a", "b"), {"y": "labels.txt"}, ())
    (y,), files, warnings = with_labels([Y], [], {}, {"y": ("c", "d")})
    assert (y.labels, files, warnings) == (("c", "d"), {}, ())


def test_columns_that_are_named_twice_name_nothing_and_are_a_warning():
    (x,), (warning,) = with_columns([X], ("a", "a"), {})
    assert (x.columns, warning) == ((), "columns.txt names a column twice, so it is not used")
    (x,), warnings = with_columns([X], (), {"x": ("a", "a")})
    assert (x.columns, warnings) == ((), ())
