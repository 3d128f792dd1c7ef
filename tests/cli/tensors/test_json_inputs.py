"""Frames in JSON, each as pandas itself writes it."""

import math

import pytest

from gateway.cli.tensors.json_inputs import read_json
from gateway.core.plan import TensorSpec

pd = pytest.importorskip("pandas", reason="comes with palmerpenguins, of the dev extra")

FRAME = pd.DataFrame({"c": [3.0, 6.0], "a": [1.0, None], "b": [2.0, 5.0], "label": ["x", "y"]})
ONE = [TensorSpec("x", "FP32", (-1, 3), columns=("a", "b", "c"))]
EACH = [TensorSpec(name, "FP32", (-1, 1)) for name in "abc"]


def written(orient):
    if orient == "lines":
        return FRAME.to_json(orient="records", lines=True)
    return FRAME.to_json(orient=orient)


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "lines", "table"])
def test_a_frame_is_read_in_every_form_that_pandas_writes_with_names(orient):
    read = read_json(written(orient), ONE)
    (first, second) = read.named["x"].tolist()
    assert first == [1.0, 2.0, 3.0]
    assert math.isnan(second[0])
    assert second[1:] == [5.0, 6.0]
    assert (read.named["label"], read.notes) == (["x", "y"], ())


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "lines", "table"])
def test_a_frame_is_read_for_a_model_with_an_input_for_each_column(orient):
    values = read_json(written(orient), EACH).named
    assert list(values["b"]) == [2.0, 5.0]
    assert math.isnan(values["a"][1])


@pytest.mark.parametrize("key", ["dataframe_split", "dataframe_records"])
def test_the_documents_that_mlflow_takes_are_read(key):
    text = f'{{"{key}": {written(key.removeprefix("dataframe_"))}}}'
    assert read_json(text, ONE).named["x"].tolist()[0] == [1.0, 2.0, 3.0]


def test_what_a_record_lacks_is_missing():
    text = '[{"a": 1, "b": 2, "c": 3}, {"b": 5, "c": 6}]'
    assert math.isnan(read_json(text, ONE).named["x"][1][0])


def test_a_frame_that_does_not_fit_says_where():
    with pytest.raises(ValueError, match="record 2, column 'a': expected a number, got 'z'"):
        read_json('[{"a": 1, "b": 2, "c": 3}, {"a": "z", "b": 5, "c": 6}]', ONE)
    with pytest.raises(ValueError, match="row 2 of `data` does not have 3 cells"):
        read_json('{"columns": ["a", "b", "c"], "data": [[1, 2, 3], [1]]}', ONE)
    with pytest.raises(ValueError, match="its columns do not have the same rows"):
        read_json('{"a": {"0": 1}, "b": {"1": 2}, "c": {"0": 3}}', ONE)


def test_a_line_that_is_no_json_is_named():
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        read_json('{"a": 1}\n{"a": \n', ONE)


def test_a_frame_with_a_column_called_name_is_a_frame():
    text = '[{"name": "X", "a": 1, "b": 2, "c": 3}]'
    assert read_json(text, ONE).named["x"].tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    "text", ['{"columns": 5, "data": [[1, 2]]}', '{"columns": null, "data": [[1]]}']
)
def test_columns_that_are_no_list_are_values_like_others(text):
    assert set(read_json(text, ONE).named) == {"columns", "data"}


def test_a_column_that_is_named_twice_is_a_fault():
    with pytest.raises(ValueError, match="names a column twice: a, a"):
        read_json('{"columns": ["a", "a"], "data": [[1, 2]]}', ONE)
