"""Thresholds in float32 split the rows of float32 as those in float64 did."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from gateway.onnx.conversion.narrowing import narrow
from tests.support import exports

COMPARE = {
    "BRANCH_LEQ": np.less_equal, "BRANCH_LT": np.less, "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
}  # fmt: skip
FLOATS = st.floats(-1e30, 1e30, width=64)


def narrowed(thresholds, mode):
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain=exports.ML,
        nodes_modes=[mode] * len(thresholds),
        nodes_values_as_tensor=numpy_helper.from_array(np.array(thresholds), "t"),
    )  # fmt: skip
    model = exports.model_of([node], [("x", exports.DOUBLE, ["N", 1])], [])
    narrow(model)
    (found,) = [
        attribute.floats
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "nodes_values"
    ]
    return np.array(found, np.float32)


@pytest.mark.parametrize("mode", COMPARE)
@given(thresholds=st.lists(FLOATS, min_size=1, max_size=5))
def test_every_float32_falls_on_the_side_where_it_fell(mode, thresholds):
    compare = COMPARE[mode]
    for wide, narrow_ in zip(thresholds, narrowed(thresholds, mode), strict=True):
        nearest = np.float32(wide)
        for x in (
            np.nextafter(nearest, np.float32(-np.inf)), nearest,
            np.nextafter(nearest, np.float32(np.inf)),
        ):  # fmt: skip
            assert compare(x, narrow_) == compare(np.float64(x), wide)


def test_loops_inside_a_graph_are_narrowed_too():
    half = helper.make_tensor("half", exports.DOUBLE, [], [0.5])
    body = helper.make_graph(
        [helper.make_node("Mul", ["row", "half"], ["halved"])],
        "body",
        [helper.make_tensor_value_info("row", exports.DOUBLE, [2])],
        [helper.make_tensor_value_info("halved", exports.DOUBLE, [2])],
        [half],
    )
    scan = helper.make_node("Scan", ["x"], ["y"], body=body, num_scan_inputs=1)
    model = exports.model_of(
        [scan], [("x", exports.DOUBLE, ["N", 2])], [("y", exports.DOUBLE, ["N", 2])]
    )
    narrow(model)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Scan"]
    inner = model.graph.node[1].attribute[0].g
    float32 = 1
    assert {inner.initializer[0].data_type, inner.input[0].type.tensor_type.elem_type} == {float32}
