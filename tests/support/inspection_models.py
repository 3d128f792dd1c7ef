"""Small real models, one for each thing that inspection must tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT
I64 = TensorProto.INT64
I32 = TensorProto.INT32
STRING = TensorProto.STRING
BOOL = TensorProto.BOOL
node = helper.make_node
tensor = helper.make_tensor_value_info


def constant(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def weights(name, *shape, seed=1):
    return constant(name, np.random.default_rng(seed).standard_normal(shape))


def model(nodes, inputs, outputs, constants=(), *, opset=21) -> ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    domains = {n.domain for n in nodes if n.domain}
    opsets = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(d, 3 if d == "ai.onnx.ml" else 1) for d in sorted(domains)),
    ]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def save(directory: Path, proto: ModelProto, name: str = "model.onnx") -> str:
    path = directory / name
    path.write_bytes(proto.SerializeToString())
    return str(path)


def rowwise(
    kind: str, *, shape=("N", 4), extra=(), constants=(), dtype=F32, **attributes
) -> ModelProto:
    """A model of one node from x to y."""
    return model(
        [node(kind, ["x", *extra], ["y"], **attributes)],
        [tensor("x", dtype, shape)],
        [tensor("y", dtype, [shape[0], None])],
        constants,
    )


def mlp(seed: int = 0, width: int = 16) -> ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    made = [weights("w", 8, width, seed=seed), weights("v", width, 3, seed=seed + 1)]
    return model(nodes, [tensor("x", F32, ["N", 8])], [tensor("y", F32, ["N", 3])], made)


def minus_mean() -> ModelProto:
    nodes = [node("ReduceMean", ["x", "axes"], ["m"], keepdims=1), node("Sub", ["x", "m"], ["y"])]
    return model(
        nodes,
        [tensor("x", F32, ["N", 4])],
        [tensor("y", F32, ["N", 4])],
        [constant("axes", [0], np.int64)],
    )


def cumsum() -> ModelProto:
    return rowwise("CumSum", extra=["axis"], constants=[constant("axis", 0, np.int64)])


def softmax_over_rows() -> ModelProto:
    return rowwise("Softmax", axis=0)


def dynamically_quantised() -> ModelProto:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        node("MatMulInteger", ["q", "w", "zero", "wz"], ["i"]),
        node("Cast", ["i"], ["f"], to=F32),
        node("Mul", ["f", "scale"], ["y"]),
    ]
    w = constant("w", np.random.default_rng(3).integers(-100, 100, (4, 5)), np.int8)
    return model(
        nodes,
        [tensor("x", F32, ["N", 4])],
        [tensor("y", F32, ["N", 5])],
        [w, constant("wz", 0, np.int8)],
    )


def recurrent_state() -> ModelProto:
    """An LSTM whose state has the batch axis second, as silero's voice detector has."""
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node("LSTM", ["xt", "w", "r", "", "", "state"], ["", "h", ""], hidden_size=3),
        node("Transpose", ["h"], ["y"], perm=[1, 0, 2]),
        node("Identity", ["h"], ["state_out"]),
    ]
    inputs = [tensor("x", F32, ["N", "T", 2]), tensor("state", F32, [1, "N", 3])]
    outputs = [tensor("y", F32, ["N", 1, 3]), tensor("state_out", F32, [1, "N", 3])]
    return model(nodes, inputs, outputs, [weights("w", 1, 12, 2), weights("r", 1, 12, 3)])


def time_first() -> ModelProto:
    nodes = [
        node("LSTM", ["x", "w", "r"], ["y4", "", ""], hidden_size=3),
        node("Squeeze", ["y4", "axes"], ["y"]),
    ]
    made = [weights("w", 1, 12, 2), weights("r", 1, 12, 3), constant("axes", [1], np.int64)]
    return model(nodes, [tensor("x", F32, ["T", 1, 2])], [tensor("y", F32, ["T", 1, 3])], made)


def positions_of_nonzero() -> ModelProto:
    """A model whose number of output rows depends on the data.

    A transpose puts the free axis first.
    """
    nodes = [node("NonZero", ["x"], ["i"]), node("Transpose", ["i"], ["y"])]
    return model(nodes, [tensor("x", F32, ["N", 4])], [tensor("y", I64, ["K", 2])])


def hard_coded_batch() -> ModelProto:
    """A model exported with one row: a reshape to [1, 4], which no shape inference sees through."""
    nodes = [
        node("ReduceSum", ["x"], ["t"], keepdims=0),
        node("Mul", ["t", "zero"], ["z"]),
        node("Cast", ["z"], ["i"], to=I64),
    ]
    nodes += [node("Add", ["i", "one"], ["s"]), node("Reshape", ["x", "s"], ["y"])]
    made = [constant("zero", 0.0), constant("one", [1, 4], np.int64)]
    return model(nodes, [tensor("x", F32, ["N", 2, 2])], [tensor("y", F32, ["N", 4])], made)


def with_scalar() -> ModelProto:
    nodes = [node("Mul", ["x", "gain"], ["y"])]
    return model(
        nodes, [tensor("x", F32, ["N", 4]), tensor("gain", F32, [])], [tensor("y", F32, ["N", 4])]
    )


def embedding(words: int = 5) -> ModelProto:
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("ReduceMean", ["e", "axes"], ["y"], keepdims=0),
    ]
    made = [weights("table", words, 6), constant("axes", [1], np.int64)]
    return model(
        nodes, [tensor("ids", I64, ["batch", "length"])], [tensor("y", F32, ["batch", 6])], made
    )


def two_names() -> ModelProto:
    inputs = [tensor("a", F32, ["N", 4]), tensor("b", F32, ["unk__7", 4])]
    return model([node("Add", ["a", "b"], ["y"])], inputs, [tensor("y", F32, [None, 4])])


def with_optional(shape=(1, 4)) -> ModelProto:
    inputs = [tensor("x", F32, ["N", 4]), tensor("bias", F32, shape)]
    return model(
        [node("Add", ["x", "bias"], ["y"])],
        inputs,
        [tensor("y", F32, ["N", 4])],
        [weights("bias", 1, 4)],
    )


def argmax() -> ModelProto:
    nodes = [
        node("MatMul", ["x", "w"], ["scores"]),
        node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [tensor("label", I64, ["N"]), tensor("scores", F32, ["N", 3])]
    return model(nodes, [tensor("x", F32, ["N", 4])], outputs, [weights("w", 4, 3)])


def endless() -> ModelProto:
    """A model with a loop of 2**62 rounds."""
    body = helper.make_graph(
        [node("Identity", ["more"], ["again"]), node("Identity", ["v"], ["w"])],
        "body",
        [tensor("i", I64, []), tensor("more", BOOL, []), tensor("v", F32, None)],
        [tensor("again", BOOL, []), tensor("w", F32, None)],
    )
    made = [constant("rounds", 2**62, np.int64), constant("go", True, np.bool_)]
    return model(
        [node("Loop", ["rounds", "go", "x"], ["y"], body=body)],
        [tensor("x", F32, ["N", 4])],
        [tensor("y", F32, ["N", 4])],
        made,
    )


def dies_opening() -> ModelProto:
    """A model that divides the constants INT64_MIN and -1, which x86 answers with SIGFPE.

    ONNX Runtime folds constants while it opens the file.
    """
    made = [constant("least", [-(2**63)], np.int64), constant("minus", [-1], np.int64)]
    nodes = [node("Div", ["least", "minus"], ["d"]), node("Add", ["x", "d"], ["y"])]
    return model(nodes, [tensor("x", I64, ["N"])], [tensor("y", I64, ["N"])], made)


def dies_running() -> ModelProto:
    """A model that divides INT64_MIN by -1 when it runs.

    The input seems to decide the value, so ONNX Runtime cannot fold it.
    """
    made = [
        constant("least", [-(2**63)], np.int64),
        constant("minus", [-1], np.int64),
        constant("zero", [0], np.int64),
    ]
    nodes = [
        node("Mul", ["x", "zero"], ["z"]),
        node("Add", ["z", "least"], ["l"]),
        node("Div", ["l", "minus"], ["y"]),
    ]
    return model(nodes, [tensor("x", I64, ["N"])], [tensor("y", I64, ["N"])], made)
