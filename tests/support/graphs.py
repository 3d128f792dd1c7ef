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


def scale(
    repository: Path, name: str, version: int = 1, factor: float = 2.0, width: int = 4
) -> Path:
    """Writes `y = factor * x`, FP32 [N, width]."""
    weights = numpy_helper.from_array(np.array([factor], "f4"), "factor")
    return save(
        repository / name / str(version) / "model.onnx",
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", width])],
        [("y", TensorProto.FLOAT, ["N", width])],
        [weights],
    )


def identity(repository: Path, name: str, element_type: int, shape, version: int = 1) -> Path:
    """Writes `y = x` of any element type."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(
        repository / name / str(version) / "model.onnx",
        [node],
        [("x", element_type, shape)],
        [("y", element_type, shape)],
    )


def slow(
    repository: Path, name: str, version: int = 1, repeats: int = 40, width: int = 512
) -> Path:
    """Writes a chain of matrix products that keeps a core busy for some milliseconds.

    `y` has the rows of `x`.
    """
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(
        (rng.standard_normal((width, width)) / width**0.5).astype("f4"), "w"
    )
    nodes = []
    at = "x"
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


def patient(repository: Path, name: str, version: int = 1, reference_rounds: int = 400) -> Path:
    """Writes `y = x`, INT64 [N, 1], after as many rounds of a loop as the largest value of x.

    A call takes as long as its caller wants. A reference sample of `reference_rounds` lies beside
    the model, so that inspection sees how long it takes.
    """
    rng = np.random.default_rng(0)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["go_on"]),
            helper.make_node("MatMul", ["state", "w"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 64]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 64]),
        ],
        [numpy_helper.from_array((rng.standard_normal((64, 64)) / 8).astype("f4"), "w")],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["rounds"], keepdims=0),
        helper.make_node("Loop", ["rounds", "yes", "first"], ["last"], body=body),
        helper.make_node("ReduceMax", ["last"], ["most"], keepdims=0),
        helper.make_node("Clip", ["most", "zero", "zero"], ["nought"]),
        helper.make_node("Cast", ["nought"], ["none"], to=TensorProto.INT64),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(True), "yes"),
        numpy_helper.from_array(np.ones((1, 64), "f4"), "first"),
        numpy_helper.from_array(np.array(0, "f4"), "zero"),
    ]
    infos = [("x", TensorProto.INT64, ["N", 1])], [("y", TensorProto.INT64, ["N", 1])]
    path = save(repository / name / str(version) / "model.onnx", nodes, *infos, constants)
    np.savez(repository / name / "reference.npz", x=np.array([[reference_rounds]], "i8"))
    return path


def fragile(
    repository: Path, name: str, version: int = 1, factor: float = 2.0, limit: int = 100
) -> Path:
    """Writes `y = factor * x` for whole x from 0 up to the limit, FP32 [N, 4].

    A larger x fails the run that it is in.
    """
    table = numpy_helper.from_array((np.arange(limit) * factor).astype("f4"), "table")
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "i"], ["y"]),
    ]
    shape = ["N", 4]
    return save(
        repository / name / str(version) / "model.onnx",
        nodes,
        [("x", TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, shape)],
        [table],
    )


def logarithm(repository: Path, name: str, version: int = 1) -> Path:
    """Writes `y = log x`, FP32 [N, 4]: NaN for a negative x."""
    shape = ["N", 4]
    node = helper.make_node("Log", ["x"], ["y"])
    return save(
        repository / name / str(version) / "model.onnx",
        [node],
        [("x", TensorProto.FLOAT, shape)],
        [("y", TensorProto.FLOAT, shape)],
    )
