"""Casts around operators of ai.onnx.ml in a graph of float64, on the command line.

They answer FP32 whatever they are given, and converters count on FP64. And trees whose thresholds
are FP32 were trained on FP32 (scikit-learn rounds rows before it grows trees): an FP64 row would
fall on the other side of a threshold than it did there.
"""

from __future__ import annotations

from typing import Any, Final

from onnx import TensorProto, helper

from gateway.onnx.conversion.graph_walk import free_name, graphs

_FLOAT_OUTPUTS: Final = {
    "LinearClassifier": 1, "LinearRegressor": 0, "Normalizer": 0, "OneHotEncoder": 0, "Scaler": 0,
    "SVMClassifier": 1, "SVMRegressor": 0, "TreeEnsembleClassifier": 1, "TreeEnsembleRegressor": 0,
}  # fmt: skip
"""Which output of an operator is always FP32."""
_TREES: Final = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")


def cast_tree_inputs(model: Any) -> list[str]:
    """Rounds to FP32 what is compared with thresholds of FP32; says what was done."""
    if not any(_is_double(value) for value in model.graph.input):
        return []
    count = 0
    for graph in graphs(model.graph):
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            if node.op_type in _TREES and any(a.name == "nodes_values" for a in node.attribute):
                rounded = free_name(model.graph, f"{node.input[0]}_fp32")
                cast = helper.make_node("Cast", [node.input[0]], [rounded], to=TensorProto.FLOAT)
                graph.node.append(cast)
                node.input[0] = rounded
                count += 1
            graph.node.append(node)
    return ["rows are rounded to FP32 before trees, whose thresholds are FP32"] if count else []


def _is_double(value: Any) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.DOUBLE)


def cast_float_outputs(model: Any) -> list[str]:
    """Makes FP64 of what these operators answer; says what was done."""
    count = 0
    for graph in graphs(model.graph):
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            graph.node.append(node)
            index = _FLOAT_OUTPUTS.get(node.op_type, -1) if node.domain == "ai.onnx.ml" else -1
            if 0 <= index < len(node.output) and node.output[index]:
                graph.node.append(_cast_behind(model.graph, graph.node[-1], index))
                count += 1
    return [f"{count} answers in FP32 are cast to the FP64 of the rest"] if count else []


def _cast_behind(whole: Any, node: Any, index: int) -> Any:
    output = node.output[index]
    inner = free_name(whole, f"{output}_fp32")
    node.output[index] = inner
    return helper.make_node("Cast", [inner], [output], to=TensorProto.DOUBLE)
