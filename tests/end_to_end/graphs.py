"""Small real models for end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(path: Path, nodes, inputs, outputs, initializers=(), opset=17) -> Path:
    """Writes a model of these nodes; inputs and outputs are (name, element type, shape)."""
    infos = lambda given: [helper.make_tensor_value_info(*g) for g in given]  # noqa: E731
    graph = helper.make_graph(list(nodes), "g", infos(inputs), infos(outputs), list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def scale(repository: Path, name: str, version: int = 1, factor: float = 2.0, width: int = 4) -> Path:
    """`y = factor * x`, FP32 [N, width]."""
    weights = numpy_helper.from_array(np.array([factor], "f4"), "factor")
    return save(
        repository / name / str(version) / "model.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", width])],
        [("y", TensorProto.FLOAT, ["N", width])],
        [weights],
    )


def identity(repository: Path, name: str, element_type: int, shape, version: int = 1) -> Path:
    """`y = x` of any element type."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(repository / name / str(version) / "model.onnx", [node], [("x", element_type, shape)], [("y", element_type, shape)])


def slow(repository: Path, name: str, version: int = 1, repeats: int = 40, width: int = 512) -> Path:
    """A chain of matrix products that keeps a core busy for some milliseconds; `y` has the rows of `x`."""
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array((rng.standard_normal((width, width)) / width**0.5).astype("f4"), "w")
    nodes, at = [], "x"
    for k in range(repeats):
        nodes.append(helper.make_node("MatMul", [at, "w"], [f"h{k}"]))
        at = f"h{k}"
    nodes.append(helper.make_node("Tanh", [at], ["y"]))
    return save(
        repository / name / str(version) / "model.onnx",
        nodes,
        [("x", TensorProto.FLOAT, ["N", width])],
        [("y", TensorProto.FLOAT, ["N", width])],
        [weights],
    )
