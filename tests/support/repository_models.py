"""ONNX files and repositories for the tests of the control process's models."""

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.sources.found import FoundModel, FoundVersion
from gateway.control.models.sources.sidecars import Sidecars
from gateway.core.plan import Findings, GraphTensor


def linear_model(rows=None, columns=4, outputs=3) -> onnx.ModelProto:
    weights = np.arange(columns * outputs, dtype=np.float32).reshape(columns, outputs)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, columns])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, outputs])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constant_model(*names: str) -> onnx.ModelProto:
    """A graph with tensors in every place where ONNX has them.

    These are node attributes, subgraphs, sparse initialisers, functions and training.
    """

    def tensor(name):
        return numpy_helper.from_array(np.arange(8, dtype=np.float32), name)

    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["b"], value=tensor("in a subgraph"))], "branch", [], []
    )
    sparse = helper.make_sparse_tensor(
        tensor("sparse values"), numpy_helper.from_array(np.arange(8, dtype=np.int64), "i"), [8]
    )
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["c"], value=tensor("in an attribute")),
            helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch),
            helper.make_node(
                "TreeEnsemble",
                [],
                ["t"],
                floats=[0.5] * 1000,
                ints=[1, -1, 2**40] * 300,
                strings=["leaf"] * 50,
            ),
        ],
        "constants",
        [],
        [],
        [tensor(name) for name in names],
        sparse_initializer=[sparse],
    )
    function = helper.make_function(
        "local",
        "f",
        [],
        ["o"],
        [helper.make_node("Constant", [], ["o"], value=tensor("in a function"))],
        [helper.make_opsetid("", 17)],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        functions=[function],
    )
    model.training_info.add().algorithm.CopyFrom(
        helper.make_graph([], "training", [], [], [tensor("in training")])
    )
    return model


def external(tensor: TensorProto, location: str) -> None:
    """Makes a tensor refer to the file at this location."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "32")):
        tensor.external_data.add(key=key, value=value)


def write_model(path: Path, model: onnx.ModelProto | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((model or linear_model()).SerializeToString())
    return path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, str):
        path.write_text(text, encoding="utf-8")
    else:
        path.write_bytes(text)
    return path


def tensor_names(message) -> set[str]:
    """The `location` of every tensor that ONNX Runtime would read from a file.

    Such a tensor is found anywhere in a parsed message.
    """
    found = set()
    if isinstance(message, TensorProto):
        if message.data_location == TensorProto.EXTERNAL:
            found |= {entry.value for entry in message.external_data if entry.key == "location"}
        return found
    for field, value in message.ListFields():
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for item in value if field.is_repeated else [value]:
                found |= tensor_names(item)
    return found


def graph_tensor(
    name: str, shape: tuple, onnx_type: str = "tensor(float)", *, optional: bool = False
) -> GraphTensor:
    return GraphTensor(name, onnx_type, shape, optional)


def findings(**more) -> Findings:
    return Findings(
        **{
            "inputs": (graph_tensor("x", ("batch", 4)),),
            "outputs": (graph_tensor("y", ("rows", 3)),),
            "batchable": True,
            "evidence": "five rows agree",
            "cost_us": {1: 10.0, 2: 11.0, 4: 14.0, 8: 26.0, 16: 49.0, 32: 93.0, 64: 310.0},
            **more,
        }
    )


def found_model(
    configuration: ModelConfiguration | None = None, **more
) -> tuple[FoundModel, FoundVersion]:
    version = FoundVersion(1, Path("/models/m/1/model.onnx"))
    model = FoundModel(
        "m",
        Path("/models/m"),
        configuration or ModelConfiguration(),
        (version,),
        sidecars=Sidecars(**more),
    )
    return model, version


def running_as_root() -> bool:
    return os.geteuid() == 0
