"""Numbers that a graph holds become trial rows for inputs with as many columns."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from gateway.core.plan import GraphTensor
from gateway.onnx.graph_facts import graph_facts
from gateway.onnx.known_rows import constant, known_rows

X = GraphTensor("x", "tensor(float)", (None, 3))
SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5)


@given(arrays.arrays(st.sampled_from(["f4", "f8"]), SHAPES, elements=st.floats(-9, 9, width=32)))
def test_a_constant_is_read_as_onnx_writes_it_raw_or_as_numbers(array):
    raw = numpy_helper.from_array(array)
    numbers = helper.make_tensor("c", raw.data_type, array.shape, array.ravel())
    for tensor in (raw, numbers):
        read = constant(tensor.SerializeToString())
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "tensor",
    [
        helper.make_tensor("whole", TensorProto.INT64, [2, 2], [1, 2, 3, 4]),
        helper.make_tensor("line", TensorProto.FLOAT, [2], [1, 2]),
        TensorProto(name="short", data_type=TensorProto.FLOAT, dims=[9, 9], raw_data=b"abcd"),
        TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[1 << 40, 1 << 40]),
    ],
)
def test_a_constant_that_is_no_table_of_floats_is_passed_over(tensor):
    assert constant(tensor.SerializeToString()) is None


def test_tables_are_rows_of_the_inputs_with_as_many_columns_and_rows_between_them():
    means = np.arange(6, dtype="f8").reshape(1, 2, 3)
    other = np.zeros((2, 5), "f4")
    rows = known_rows([X, GraphTensor("n", "tensor(int64)", (None, 3))], [means, other])
    assert list(rows) == ["x"]
    assert rows["x"].dtype == np.float32
    assert rows["x"][:2].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert ((rows["x"] >= 0) & (rows["x"] <= 5)).all()


def test_constants_of_nodes_and_initialisers_are_found_and_large_ones_are_not(tmp_path):
    small = numpy_helper.from_array(np.ones((2, 3), "f4"), "small")
    large = numpy_helper.from_array(np.ones((5000, 3), "f4"), "large")
    node = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(np.full((1, 3), 7, "f4"))
    )
    output = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([node], "g", [], [output], [small, large])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    tables = graph_facts(str(tmp_path / "model.onnx")).tables
    assert sorted(table.shape for table in tables) == [(1, 3), (2, 3)]
