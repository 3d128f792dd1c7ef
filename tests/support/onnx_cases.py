"""Models with an input for each, for comparisons with ONNX Runtime.

They are the ONNX standard's own, one small graph for each operator and option, and graphs with
features that are seldom seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRINGS = np.array(["", "a\0b", "\0", "grün", "東京 \U0001f600", "x" * 300], object)
CAST_TYPES = (
    TensorProto.BOOL, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT16,
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BFLOAT16,
)  # fmt: skip


@dataclass
class Case:
    """A model and one input for it."""

    name: str
    model: onnx.ModelProto
    feed: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, repository: Path) -> None:
        """Saves the model in a repository, as version 1."""
        path = repository / self.name / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(self.model.SerializeToString())


def node_cases() -> Iterator[Case]:
    """The ONNX node tests whose inputs and outputs are declared as tensors."""
    with warnings.catch_warnings():
        # numpy warns of the overflows and divisions that the cases are about
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        collected = collect_testcases(None)
    for found in sorted(collected, key=lambda case: case.name):
        graph = found.model.graph
        if all(value.type.HasField("tensor_type") for value in (*graph.input, *graph.output)):
            arrays = found.data_sets[0][0]
            yield Case(
                found.name,
                found.model,
                {
                    value.name: _array(given)
                    for value, given in zip(graph.input, arrays, strict=True)
                },
            )


def converted_cases() -> Iterator[Case]:
    """Graphs that PyTorch exported and graphs of several operators, with the inputs of onnx."""
    for path in sorted(
        (Path(onnx.__file__).parent / "backend/test/data").glob("*/test_*/model.onnx")
    ):
        model = onnx.load(path)
        folder = path.parent / "test_data_set_0"
        values = [
            value
            for value in model.graph.input
            if value.name not in {tensor.name for tensor in model.graph.initializer}
        ]
        files = sorted(
            folder.glob("input_*.pb"), key=lambda file: int(file.stem.rpartition("_")[2])
        )
        if all(value.type.HasField("tensor_type") for value in (*values, *model.graph.output)):
            tensors = [onnx.load_tensor(file) for file in files]
            yield Case(
                path.parent.name,
                model,
                {value.name: _array(tensor) for value, tensor in zip(values, tensors, strict=True)},
            )


def light_cases(*names: str) -> Iterator[Case]:
    """The well-known networks that ship with onnx, by name; without names, all of them.

    Their weights are made when a case is opened.
    """
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    for path in sorted(folder.glob("*.onnx")):
        if path.stem in names or not names:
            model = onnx.load(path)
            (value,) = [
                value
                for value in model.graph.input
                if value.name not in {tensor.name for tensor in model.graph.initializer}
            ]
            shape = [size.dim_value for size in value.type.tensor_type.shape.dim]
            yield Case(
                path.stem, model, {value.name: np.random.default_rng(0).random(shape, np.float32)}
            )


def graph(
    name: str, nodes: Iterable[onnx.NodeProto], inputs, outputs, feed=None, initializers=()
) -> Case:
    """A case of these nodes; inputs and outputs are (name, element type, shape)."""
    infos = [
        [helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)
    ]
    made = helper.make_graph(list(nodes), "g", *infos, list(initializers))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return Case(name, model, feed or {})


def unary(
    name: str,
    operator: str,
    declared,
    array: np.ndarray,
    *,
    source: str = "x",
    target: str = "y",
    out=None,
) -> Case:
    """A model of one operator from one tensor to another of the same type."""
    element = (
        TensorProto.STRING
        if array.dtype == object
        else helper.np_dtype_to_tensor_dtype(array.dtype)
    )
    out = declared if out is None else out
    return graph(
        name,
        [helper.make_node(operator, [source], [target])],
        [(source, element, declared)],
        [(target, element, out)],
        {source: array},
    )


def seldom_seen() -> Iterator[Case]:
    """Valid graphs that a server easily gets wrong."""
    vector = np.array([1.5, -2.0], "f4")
    yield from _shapes()
    yield from _names(vector)
    yield from _odd_graphs(vector)
    yield unary("strings", "Identity", [None], STRINGS)
    yield unary("string of rank 0", "Identity", [], np.array("a\0b", object))
    yield unary("no strings", "Identity", ["n", 2], np.empty((0, 2), object))
    for element in CAST_TYPES:
        array = np.array([[0, 1, 2, 7], [1, 0, 0, 100]]).astype(
            helper.tensor_dtype_to_np_dtype(element)
        )
        yield unary(
            f"every datatype {TensorProto.DataType.Name(element)}", "Identity", ["n", "k"], array
        )


def _shapes() -> Iterator[Case]:
    small = np.arange(6, dtype="f4").reshape(2, 3)
    yield unary("rank 0", "Neg", [], np.array(3, "f4"))
    yield unary("rank 0 BF16", "Identity", [], np.array(3, ml_dtypes.bfloat16))
    yield unary("rank left open", "Neg", None, small)
    yield unary("rank left open and 0", "Neg", None, np.array(3, "f4"))
    yield unary("rank of the output left open", "Neg", ["n", 3], small, out=None)
    yield unary("25 axes", "Neg", [1] * 24 + [2], np.ones([1] * 24 + [2], "f4"))
    yield unary("size 0", "Neg", ["n", 3], np.empty((0, 3), "f4"))
    yield unary("size 0 inside", "Neg", ["n", "k", 3], np.empty((2, 0, 3), "f4"))
    yield unary("size 0 declared", "Neg", [0, 3], np.empty((0, 3), "f4"))
    yield unary("size 0 BF16", "Identity", ["n"], np.empty(0, ml_dtypes.bfloat16))
    yield unary("size -1 declared", "Neg", [-1, 3], small)
    yield unary("output declared otherwise", "Neg", ["n", 3], small, out=[7, 3])
    yield unary(
        "shape from the data", "NonZero", ["a", "b"], np.eye(4, dtype="i8"), out=[2, "hits"]
    )
    unique = [helper.make_node("Unique", ["x"], ["values", "first", "inverse", "counts"])]
    names = ("values", "first", "inverse", "counts")
    yield graph(
        "shapes from the data",
        unique,
        [("x", 7, ["n"])],
        [(name, 7, [name]) for name in names],
        {"x": np.array([3, 1, 3, 2, 1])},
    )
    yield graph(
        "none found",
        [helper.make_node("NonZero", ["x"], ["y"])],
        [("x", 1, ["n"])],
        [("y", 7, [1, "hits"])],
        {"x": np.zeros(5, "f4")},
    )
    reduce = [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)]
    yield graph("rank 0 out of rank 2", reduce, [("x", 1, ["n", 3])], [("y", 1, [])], {"x": small})


def _names(vector: np.ndarray) -> Iterator[Case]:
    names = [
        "a b",
        "eingabe/größe:0",
        "x.1",
        " ",
        "\U0001f600",
        "n" * 2000,
        "raw_input_contents",
        "日本語\t",
    ]
    nodes = [helper.make_node("Concat", names, ["out put.é"], axis=0)]
    inputs = [(name, 1, [2]) for name in names]
    feed = {name: vector * (i + 1) for i, name in enumerate(names)}
    yield graph("odd names", nodes, inputs, [("out put.é", 1, [2 * len(names)])], feed)
    yield unary("naïve model \U0001f600", "Neg", [2], vector)


def _odd_graphs(vector: np.ndarray) -> Iterator[Case]:
    negate = helper.make_node("Neg", ["x"], ["y"])
    weight = numpy_helper.from_array(np.array([5], "f4"), "b")
    declared = [("x", 1, [2])]
    out = [("y", 1, [2])]
    yield graph(
        "no inputs",
        [helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(vector))],
        [],
        out,
    )
    yield graph("input is an output", [negate], declared, [*out, ("x", 1, [2])], {"x": vector})
    yield graph("input is the only output", [], declared, declared, {"x": vector})
    yield graph(
        "initialiser is an output",
        [negate],
        declared,
        [*out, ("b", 1, [1])],
        {"x": vector},
        [weight],
    )
    yield graph(
        "input nobody reads",
        [negate],
        [*declared, ("u", 7, ["k"])],
        out,
        {"x": vector, "u": np.arange(3)},
    )
    add = [helper.make_node("Add", ["x", "b"], ["y"])]
    with_default = [("x", 1, ["n"]), ("b", 1, [1])], [("y", 1, ["n"])]
    yield graph("optional input left out", add, *with_default, {"x": vector}, [weight])
    yield graph(
        "optional input given",
        add,
        *with_default,
        {"x": vector, "b": np.array([0.25], "f4")},
        [weight],
    )
    many = [f"x{i}" for i in range(300)]
    total = [helper.make_node("Sum", many, ["y"])]
    yield graph(
        "300 inputs",
        total,
        [(name, 1, [2]) for name in many],
        out,
        {name: vector / 3 + i for i, name in enumerate(many)},
    )
    split = [helper.make_node("Split", ["x"], [f"y{i}" for i in range(200)], axis=0)]
    yield graph(
        "200 outputs",
        split,
        [("x", 7, [200])],
        [(f"y{i}", 7, [1]) for i in range(200)],
        {"x": np.arange(200)},
    )


def _array(given: object) -> np.ndarray:
    return (
        numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else np.asarray(given)
    )
