"""What ONNX Runtime answers is what the runner answers, bit for bit, for every kind of tensor."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gateway.core.datatypes import datatype_of_onnx, numpy_dtype
from gateway.core.errors import ModelFailed
from gateway.core.plan import BatchingPlan, SessionPlan, TensorSpec, VersionPlan
from gateway.onnx.session import Session, SessionNotOpened
from gateway.serving.runtime.runner import VersionRunner, reshape

TYPES = {
    "BOOL": TensorProto.BOOL, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32, "INT64": TensorProto.INT64, "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip


def model(tmp_path, nodes, inputs, outputs, initializers=()):
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(*i) for i in inputs],
            [helper.make_tensor_value_info(*o) for o in outputs],
            list(initializers),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 9
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    return str(path)


def runner(path, inputs, outputs, *, batch=0, **options):
    specs = lambda given: tuple(TensorSpec(*g) for g in given)  # noqa: E731
    plan = VersionPlan(
        "m",
        1,
        path,
        "",
        specs(inputs),
        specs(outputs),
        BatchingPlan(max_batch_size=batch),
        **options,
    )
    return VersionRunner(plan, Session(path, SessionPlan()))


def identity(tmp_path, datatype, shape):
    kind = TYPES[datatype]
    return model(
        tmp_path,
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", kind, shape)],
        [("y", kind, shape)],
    )


def values(datatype, shape):
    count = int(np.prod(shape))
    if datatype == "BYTES":
        return np.array([f"é{i}\0" for i in range(count)], object).reshape(shape)
    return np.arange(count).astype(numpy_dtype(datatype)).reshape(shape)


@pytest.mark.parametrize("datatype", TYPES)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_every_datatype_goes_through_unchanged(tmp_path, datatype, shape):
    path = identity(tmp_path, datatype, ["N", 3] if shape else [])
    free = (-1, 3) if shape else ()
    array = values(datatype, shape)
    (got,) = runner(path, [("x", datatype, free)], [("y", datatype, free)]).run(
        {"x": array}, (0,), -1
    )
    assert got.shape == shape
    assert got.dtype == array.dtype or datatype == "BYTES"
    assert got.tolist() == array.tolist()


def test_an_unaligned_view_of_a_message_is_run_without_a_copy_and_rightly(tmp_path):
    path = identity(tmp_path, "FP64", ["N", 3])
    message = b"x" + np.arange(6.0).tobytes()
    view = np.ndarray((2, 3), "f8", message, 1)
    (got,) = runner(path, [("x", "FP64", (-1, 3))], [("y", "FP64", (-1, 3))]).run(
        {"x": view}, (0,), -1
    )
    assert got.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_outputs_whose_shape_only_the_data_decides_come_as_they_are(tmp_path):
    path = model(
        tmp_path,
        [helper.make_node("NonZero", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["N"])],
        [("y", TensorProto.INT64, None)],
    )
    (got,) = runner(path, [("x", "FP32", (-1,))], [("y", "INT64", (-1, -1))]).run(
        {"x": np.array([0, 5, 6], "f4")}, (0,), -1
    )
    assert got.tolist() == [[1, 2]]


def test_only_the_wanted_outputs_are_computed_in_the_order_wanted(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])]
    path = model(tmp_path, nodes, [("x", 1, ["N"])], [("y", 1, ["N"]), ("z", 1, ["N"])])
    made = runner(path, [("x", "FP32", (-1,))], [("y", "FP32", (-1,)), ("z", "FP32", (-1,))])
    got = made.run({"x": np.array([-1, 2], "f4")}, (1, 0), -1)
    assert [a.tolist() for a in got] == [[1, 2], [1, -2]]


def test_an_optional_input_may_be_left_out_or_given(tmp_path):
    default = helper.make_tensor("w", TensorProto.FLOAT, [1], [10.0])
    path = model(
        tmp_path,
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        [("x", 1, ["N"]), ("w", 1, [1])],
        [("y", 1, ["N"])],
        [default],
    )
    made = runner(path, [("x", "FP32", (-1,)), ("w", "FP32", (1,), True)], [("y", "FP32", (-1,))])
    x = np.array([1, 2], "f4")
    assert made.run({"x": x}, (0,), -1)[0].tolist() == [10, 20]
    assert made.run({"x": x, "w": np.array([3], "f4")}, (0,), -1)[0].tolist() == [3, 6]
    session = Session(path, SessionPlan())
    assert [(i.name, i.optional) for i in session.inputs] == [("x", False), ("w", True)]


def test_an_output_without_the_batchs_rows_is_the_models_failure(tmp_path):
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)
    path = model(tmp_path, [node], [("x", 1, ["N", 2])], [("y", 1, ["M", 2])])
    made = runner(path, [("x", "FP32", (-1, 2))], [("y", "FP32", (-1, 2))], batch=8)
    with pytest.raises(ModelFailed, match="Set max_batch_size to 0"):
        made.run({"x": np.ones((3, 2), "f4")}, (0,), 3)


def test_rows_are_counted_in_the_graphs_shape_before_an_output_is_reshaped(tmp_path):
    """Reshaped first, the columns of a transposed output would count as rows."""
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    path = model(tmp_path, [node], [("x", 1, ["N", "F"])], [("y", 1, ["F", "N"])])
    x = (TensorSpec("x", "FP32", (-1, 4)),)
    y = (TensorSpec("y", "FP32", (-1, 1, -1), model_shape=(-1, -1)),)
    plan = VersionPlan("m", 1, path, "", x, y, BatchingPlan(max_batch_size=8))
    made = VersionRunner(plan, Session(path, SessionPlan()))
    with pytest.raises(ModelFailed, match=r"2 rows and returned 'y' \[4, 2\]"):
        made.run({"x": np.ones((2, 4), "f4")}, (0,), 2)


def test_an_output_that_cannot_be_reshaped_as_configured_names_both_shapes(tmp_path):
    path = identity(tmp_path, "FP32", ["N", "F"])
    x = (TensorSpec("x", "FP32", (-1, -1)),)
    y = (TensorSpec("y", "FP32", (-1, 2, 2), model_shape=(-1, 4)),)
    plan = VersionPlan("m", 1, path, "", x, y, BatchingPlan(max_batch_size=8))
    made = VersionRunner(plan, Session(path, SessionPlan()))
    with pytest.raises(ModelFailed, match=r"\[2, 3\].* from \[-1, 4\] to \[-1, 2, 2\]"):
        made.run({"x": np.ones((2, 3), "f4")}, (0,), 2)


@given(st.lists(st.integers(0, 3), max_size=3), st.data())
def test_free_sizes_keep_their_order_in_a_reshape(free, data):
    """Whatever stands between them is folded or unfolded."""
    pieces = [data.draw(st.sampled_from([(), (1,), (2, 3), (6,), (3, 1, 2)])) for _ in free]
    folded = [(math.prod(piece),) for piece in pieces]
    seen = [part for size, piece in zip(free, pieces, strict=True) for part in (-1, *piece)]
    graphs = [part for size, piece in zip(free, folded, strict=True) for part in (-1, *piece)]
    sizes = iter(free)
    x = np.arange(math.prod([*free, *map(math.prod, pieces)])).reshape(
        [next(sizes) if part < 0 else part for part in seen]
    )
    there = reshape(x, tuple(seen), tuple(graphs))
    assert [size for size, part in zip(there.shape, graphs, strict=True) if part < 0] == free
    assert np.array_equal(reshape(there, tuple(graphs), tuple(seen)), x)


def test_configured_shapes_are_translated_both_ways(tmp_path):
    path = identity(tmp_path, "FP32", ["N", 2, 3])
    plan = VersionPlan(
        "m", 1, path, "", (TensorSpec("x", "FP32", (-1, 6), model_shape=(-1, 2, 3)),),
        (TensorSpec("y", "FP32", (-1, 6), model_shape=(-1, 2, 3)),), BatchingPlan(max_batch_size=4),
    )  # fmt: skip
    made = VersionRunner(plan, Session(path, SessionPlan()))
    (got,) = made.run({"x": np.arange(12, dtype="f4").reshape(2, 6)}, (0,), 2)
    assert got.tolist() == np.arange(12).reshape(2, 6).tolist()


def test_a_run_that_fails_says_what_onnx_runtime_said(tmp_path):
    path = model(
        tmp_path,
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [("x", 1, ["N"]), ("s", 7, [1])],
        [("y", 1, ["M"])],
    )
    made = runner(path, [("x", "FP32", (-1,)), ("s", "INT64", (1,))], [("y", "FP32", (-1,))])
    with pytest.raises(ModelFailed, match="ONNX Runtime failed to run the model"):
        made.run({"x": np.ones(3, "f4"), "s": np.array([2])}, (0,), -1)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09\x3a\x02\xff"])
def test_a_file_that_is_no_model_is_refused_with_a_reason(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SessionNotOpened, match="cannot open the model"):
        Session(str(path), SessionPlan())


def test_an_idle_session_has_no_threads_of_its_own(tmp_path):
    def threads():
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Threads"))

    path = identity(tmp_path, "FP32", ["N", 3])
    before = threads()
    sessions = [Session(path, SessionPlan()) for _ in range(10)]
    assert threads() == before
    assert len(sessions) == 10


def test_types_the_protocol_lacks_are_known_as_such():
    assert datatype_of_onnx("seq(tensor(float))") is None
    assert datatype_of_onnx("tensor(complex64)") is None
    assert datatype_of_onnx("tensor(bfloat16)") == "BF16"
    assert ort.__version__
