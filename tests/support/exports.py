"""Graphs as converters write them from rows of float64, which ONNX Runtime refuses."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

DOUBLE = TensorProto.DOUBLE
ML = "ai.onnx.ml"


def model_of(nodes, inputs, outputs, initializers=()):
    """A model of these nodes; inputs and outputs are (name, element type, shape) or infos."""
    infos = lambda given: [  # noqa: E731
        helper.make_tensor_value_info(*each) if isinstance(each, tuple) else each for each in given
    ]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), list(initializers))
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def stump(threshold: float, x: str = "x", label: str = "label", probabilities: str = "scores"):
    """A tree of one threshold: class 0 where the first column is not above it, else class 1."""
    return helper.make_node(
        "TreeEnsembleClassifier", [x], [label, probabilities], domain=ML,
        classlabels_int64s=[0, 1], post_transform="NONE",
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[threshold, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0], nodes_hitrates=[1.0, 1.0, 1.0],
        class_treeids=[0] * 4, class_nodeids=[1, 1, 2, 2], class_ids=[0, 1, 0, 1],
        class_weights=[1.0, 0.0, 0.0, 1.0],
    )  # fmt: skip


def tree(threshold: float = 0.5):
    """Probabilities that are declared float64, though the operator answers float32."""
    return model_of(
        [stump(threshold, probabilities="probabilities")],
        [("x", DOUBLE, ["N", 2])],
        [("label", TensorProto.INT64, ["N"]), ("probabilities", DOUBLE, ["N", 2])],
    )


def tree_with_maps(classes=("no", "yes"), threshold: float = 0.5):
    """The same with ZipMap behind it, as skl2onnx writes it where nothing is asked of it."""
    maps = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(DOUBLE, None)
    )
    output = helper.make_value_info("probability", helper.make_sequence_type_proto(maps))
    nodes = [
        stump(threshold),
        helper.make_node(
            "ZipMap", ["scores"], ["probability"], domain=ML, classlabels_strings=list(classes)
        ),
    ]
    return model_of(nodes, [("x", DOUBLE, ["N", 2])], [("label", TensorProto.INT64, ["N"]), output])


def mixed():
    """Answers of a tree, float32, beside a constant of float64: Where takes one type."""
    two = helper.make_tensor("two", DOUBLE, [1, 2], [2.0, 2.0])
    nodes = [
        stump(0.5),
        helper.make_node("Mul", ["scores", "two"], ["y"]),
    ]
    outputs = [("label", TensorProto.INT64, ["N"]), ("y", DOUBLE, ["N", 2])]
    return model_of(nodes, [("x", DOUBLE, ["N", 2])], outputs, [two])


def mixed_inputs():
    """Columns of float32 and float64 side by side, which Concat refuses."""
    half = helper.make_tensor("half", DOUBLE, [1], [0.5])
    nodes = [
        helper.make_node("Mul", ["b", "half"], ["halved"]),
        helper.make_node("Concat", ["a", "halved"], ["y"], axis=1),
    ]
    inputs = [("a", TensorProto.FLOAT, ["N", 1]), ("b", DOUBLE, ["N", 1])]
    return model_of(nodes, inputs, [("y", DOUBLE, ["N", 2])], [half])


def one_row_declared():
    """A label that is declared [1] and has as many rows as the input, as onnxmltools writes it."""
    nodes = [helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0)]
    return model_of(
        nodes, [("x", TensorProto.FLOAT, ["N", 3])], [("label", TensorProto.INT64, [1])]
    )


def one_row_answered():
    """An output of one row whatever is asked, and declared so."""
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=1, axes=[0])]
    graph = model_of(
        nodes, [("x", TensorProto.FLOAT, ["N", 3])], [("y", TensorProto.FLOAT, [1, 3])]
    )
    graph.opset_import[0].version = 13
    return graph


def rows(count: int = 1000) -> np.ndarray:
    """Rows around the threshold, of which float32 holds none exactly."""
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (count, 2))
