"""Makes a graph of float64 one of float32, on the command line.

Inputs of FP64 stay, with a cast behind them, so that callers need not know. Thresholds of trees are
rounded so that every FP32 value falls on the side where it fell.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from gateway.onnx.conversion.graph_walk import free_name, graphs, rename_uses

_AS_TENSOR: Final = "_as_tensor"
_THRESHOLDS: Final = "nodes_values_as_tensor"
# which way a threshold is rounded: x <= t and x > t keep their meaning for FP32 x when t goes down
_DOWN: Final = (b"BRANCH_LEQ", b"BRANCH_GT")
_UP: Final = (b"BRANCH_LT", b"BRANCH_GTE")


def narrow(model: Any) -> list[str]:
    """Rewrites the model to float32; says what was done."""
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            _narrow_tensor(tensor)
        for node in graph.node:
            _narrow_node(node)
        if graph is not model.graph:
            for value in (*graph.input, *graph.output, *graph.value_info):
                _narrow_value(value)
    done = [f"input '{name}' of FP64 is cast to FP32" for name in _cast_inputs(model.graph)]
    return ["the graph computes in FP32", *done]


def _narrow_tensor(tensor: Any) -> None:
    if tensor.data_type == TensorProto.DOUBLE:
        array = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))


def _narrow_value(value: Any) -> None:
    kind = value.type.tensor_type
    if value.type.HasField("tensor_type") and kind.elem_type == TensorProto.DOUBLE:
        kind.elem_type = TensorProto.FLOAT


def _narrow_node(node: Any) -> None:
    modes = [bytes(mode) for a in node.attribute if a.name == "nodes_modes" for mode in a.strings]
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR and attribute.name.endswith(_AS_TENSOR):
            values = numpy_helper.to_array(attribute.t)
            rounded = _rounded(values, modes if attribute.name == _THRESHOLDS else ())
            name = attribute.name.removesuffix(_AS_TENSOR)
            # the operators of FP32 take their numbers as a list
            attribute.CopyFrom(helper.make_attribute(name, rounded.tolist()))
        elif attribute.type == AttributeProto.TENSOR:
            _narrow_tensor(attribute.t)
        elif node.op_type == "Cast" and attribute.name == "to":
            attribute.i = TensorProto.FLOAT if attribute.i == TensorProto.DOUBLE else attribute.i


def _rounded(values: Any, modes: Any) -> Any:
    """The values as float32: the nearest, but for thresholds of comparisons that are not equal."""
    with np.errstate(over="ignore"):
        nearest = values.astype(np.float32)
    wide = nearest.astype(np.float64)
    down = np.isin(np.array(modes or [b""] * len(values)), _DOWN)
    up = np.isin(np.array(modes or [b""] * len(values)), _UP)
    lower = np.nextafter(nearest, np.float32(-np.inf))
    upper = np.nextafter(nearest, np.float32(np.inf))
    return np.where(down & (wide > values), lower, np.where(up & (wide < values), upper, nearest))


def _cast_inputs(graph: Any) -> list[str]:
    """Puts a cast behind each input of FP64, and returns their names."""
    initial = {tensor.name for tensor in graph.initializer}
    names = []
    for value in graph.input:
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or kind.elem_type != TensorProto.DOUBLE:
            continue
        if value.name in initial:
            kind.elem_type = TensorProto.FLOAT
            continue
        inner = free_name(graph, f"{value.name}_fp32")
        rename_uses(graph, value.name, inner)
        node = helper.make_node("Cast", [value.name], [inner], to=TensorProto.FLOAT)
        graph.node.insert(0, node)
        names.append(value.name)
    return names
