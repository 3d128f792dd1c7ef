"""Tables with named columns: found by name wherever the model names them, in any order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.tensors.csv_inputs import read_csv
from gateway.cli.tensors.table_inputs import Table, read_table
from gateway.core.plan import TensorSpec

NAMED = TensorSpec("x", "FP32", (-1, 3), columns=("a", "b", "c"))
UNNAMED = TensorSpec("x", "FP32", (-1, 3))


def rows(text, *specs):
    read = read_table(read_csv(text), specs)
    return {name: np.asarray(value).tolist() for name, value in read.named.items()}, read.notes


@given(st.permutations(["a", "b", "c", "label", ""]))
def test_columns_that_the_model_names_are_found_in_whatever_order_they_stand(order):
    cells = {"a": 1, "b": 2, "c": 3, "label": "red", "": 0}
    table = Table({name: [cells[name]] for name in order}, ["line 2"])
    read = read_table(table, [NAMED])
    assert read.named["x"].tolist() == [[1.0, 2.0, 3.0]]
    assert (read.named["label"], read.notes) == (["red"], ())


def test_a_column_that_the_model_names_and_the_file_lacks_is_a_fault():
    with pytest.raises(ValueError, match=r"lacks the model's columns b, c; it has a, d, e"):
        rows("a,d,e\n1,2,3\n", NAMED)


def test_columns_that_nobody_names_are_taken_in_their_order_which_is_said():
    values, (note,) = rows("q,r,label,s\n1,2,x,3\n", UNNAMED)
    assert values == {"x": [[1.0, 2.0, 3.0]], "label": ["x"]}
    assert "they are taken in this order: q, r, s" in note


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "index"])
def test_the_index_that_pandas_writes_is_no_feature_and_nothing_is_said_of_it(index):
    values, _ = rows(f"{index},a,b,c\n0,1,2,3\n1,4,5,6\n", UNNAMED)
    assert values == {"x": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]}


def test_a_feature_that_is_called_index_is_one_where_the_model_needs_it():
    assert rows("index,b,c\n7,2,3\n", UNNAMED)[0] == {"x": [[7.0, 2.0, 3.0]]}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_cells_may_be_separated_by_any_of_four(separator):
    text = "\n".join(separator.join(line) for line in (["c", "a", "b"], ["3", "1", "2.5"]))
    assert rows(text, NAMED)[0] == {"x": [[1.0, 2.5, 3.0]]}


def test_a_comma_is_a_decimal_point_where_it_does_not_separate_cells():
    assert rows("a;b;c\n1,5;-2,25;3e-1\n", NAMED)[0] == {"x": [[1.5, -2.25, 0.3]]}


def test_texts_with_commas_stay_as_they_are_between_semicolons():
    specs = [TensorSpec("name", "BYTES", (-1, 1)), TensorSpec("n", "FP32", (-1, 1))]
    assert rows("name;n\nOslo, N;1\n", *specs)[0] == {"name": ["Oslo, N"], "n": [1.0]}


@pytest.mark.parametrize("cell", ["", "NA", "NaN", "null", "None", "n/a"])
def test_a_missing_number_is_nan(cell):
    ((first, second, third),) = rows(f"a,b,c\n1,{cell},3\n", NAMED)[0]["x"]
    assert (first, third) == (1.0, 3.0)
    assert math.isnan(second)


def test_a_missing_whole_number_is_a_fault_with_its_place():
    spec = TensorSpec("n", "INT64", (-1, 1))
    with pytest.raises(ValueError, match=r"line 3, column 'n': .* got nothing \(INT64 has no"):
        rows("n,m\n1,1\n,2\n", spec)


def test_names_that_a_converter_wrote_otherwise_are_the_same_columns():
    names = ("petal_length_(cm)", "od280_od315")
    spec = TensorSpec("x", "FP32", (-1, 2), columns=names)
    assert rows("od280/od315,petal length (cm)\n2,1\n", spec)[0] == {"x": [[1.0, 2.0]]}
    specs = [TensorSpec(name, "FP32", (-1, 1)) for name in names]
    assert rows("OD280/OD315,petal length (cm)\n2,1\n", *specs)[0] == {
        "petal_length_(cm)": [1.0], "od280_od315": [2.0],
    }  # fmt: skip


def test_two_columns_that_are_alike_but_for_punctuation_stand_for_nothing():
    with pytest.raises(ValueError, match="lacks the model's column a_b"):
        rows("a b,a.b\n1,2\n", TensorSpec("x", "FP32", (-1, 2), columns=("a_b", "a b")))


@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=20),
    st.sampled_from([",", ";", "\t"]),
)
def test_numbers_are_read_as_they_were_written(numbers, separator):
    lines = [separator.join("abc"), *(separator.join(map(repr, row)) for row in numbers)]
    assert rows("\n".join(lines), NAMED)[0]["x"] == [list(row) for row in numbers]


def test_a_row_of_missing_values_is_a_row_and_those_at_the_end_are_none():
    (first, second, third) = rows("a,b,c\n1,1,1\n,,\n3,3,3\n,,\n,,\n", NAMED)[0]["x"]
    assert (first, third) == ([1.0] * 3, [3.0] * 3)
    assert all(map(math.isnan, second))


@pytest.mark.parametrize("first", ["5.1,NA,1.4", "5.1,,1.4", "1,2,3"])
def test_a_first_line_of_numbers_and_missing_ones_is_no_line_of_names(first):
    with pytest.raises(ValueError, match="begins with numbers"):
        rows(f"{first}\n6.2,3.4,5.4\n", UNNAMED)


def test_a_quote_that_is_not_closed_is_a_fault_and_swallows_nothing():
    with pytest.raises(ValueError, match="is not CSV: unexpected end of data"):
        rows('x\nhello\n"good\nbad\n', TensorSpec("x", "BYTES", (-1, 1)))


def test_an_index_is_no_feature_of_an_input_of_any_width():
    free = TensorSpec("x", "FP32", (-1, -1))
    assert rows("Unnamed: 0,a,b\n0,2,3\n", free)[0] == {"x": [[2.0, 3.0]]}
