"""ZipMap is cut off, and what it made its dictionaries of is answered."""

import contextlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from gateway.core.plan import SessionPlan
from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.session import Session
from gateway.onnx.zipmap import cut_zipmap

X = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]], "f4")


def zipmap(x="scores", y="probabilities", **classes):
    return helper.make_node("ZipMap", [x], [y], domain="ai.onnx.ml", **classes)


def maps(name, key=TensorProto.STRING, element=TensorProto.FLOAT):
    value = helper.make_tensor_type_proto(element, None)
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
    return helper.make_value_info(name, kind)


def saved(folder, nodes, outputs, *, element=TensorProto.FLOAT, default=13):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", element, ["N", 3])], outputs
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 1)]
    if default:
        opsets.append(helper.make_opsetid("", default))
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    path = folder / "model.onnx"
    onnx.save(model, path)
    return str(path)


def double(x="x", y="scores"):
    return helper.make_node("Add", [x, x], [y])


def answered(path, **feed):
    session = Session(path, SessionPlan(cut_zipmap=True))
    return session, session.run(feed, session.output_names)


def test_the_tensor_has_the_numbers_of_the_dictionaries_in_the_order_of_the_classes(tmp_path):
    names = ["red", "green", "blue"]
    path = saved(
        tmp_path,
        [double(), zipmap(classlabels_strings=names)],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
            maps("probabilities"),
        ],
    )
    (_, rows) = ort.InferenceSession(path).run(None, {"x": X})
    session, (scores, probabilities) = answered(path, x=X)
    assert probabilities.tolist() == [[row[name] for name in names] for row in rows]
    assert scores.tolist() == probabilities.tolist()
    assert session.classes == {"probabilities": ("red", "green", "blue")}
    assert session.outputs[1].shape == (None, 3)


def test_classes_may_be_numbers_below_zero_too(tmp_path):
    path = saved(
        tmp_path,
        [zipmap("x", "y", classlabels_int64s=[-1, 7, 1 << 40])],
        [maps("y", TensorProto.INT64)],
    )
    session, (y,) = answered(path, x=X)
    assert session.classes == {"y": ("-1", "7", str(1 << 40))}
    assert y.tolist() == X.tolist()


def test_a_graph_of_ml_operators_alone_has_no_default_opset_and_is_cut_all_the_same(tmp_path):
    path = saved(
        tmp_path, [zipmap("x", "y", classlabels_strings=list("abc"))], [maps("y")], default=0
    )
    _, (y,) = answered(path, x=X)
    assert y.tolist() == X.tolist()


def test_probabilities_of_64_bits_which_zipmap_refuses_are_answered(tmp_path):
    path = saved(
        tmp_path,
        [double(), zipmap(classlabels_strings=list("abc"))],
        [maps("probabilities", element=TensorProto.DOUBLE)],
        element=TensorProto.DOUBLE,
    )
    with pytest.raises(Exception, match="ZipMap"):
        ort.InferenceSession(path)
    session, (y,) = answered(path, x=X.astype("f8"))
    assert y.dtype == np.float64
    assert session.outputs[0].onnx_type == "tensor(double)"


def test_external_data_is_found_beside_the_file(tmp_path):
    weights = onnx.numpy_helper.from_array(np.full((1, 3), 5, "f4"), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w"], ["s"]),
            zipmap("s", "y", classlabels_int64s=[0, 1, 2]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [maps("y", TensorProto.INT64)],
        [weights],
    )
    opsets = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    _, (y,) = answered(str(path), x=X)
    assert y.tolist() == (X * np.float32(5)).tolist()


def test_a_file_without_zipmap_stays_as_it_is(tmp_path):
    path = saved(
        tmp_path,
        [double(y="y")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    cut = cut_zipmap(path)
    assert (cut.classes, cut.content) == ({}, (tmp_path / "model.onnx").read_bytes())


def test_a_zipmap_whose_maps_the_graph_goes_on_with_is_left_alone(tmp_path):
    nodes = [
        zipmap("x", "maps", classlabels_int64s=[0, 1, 2]),
        helper.make_node("Identity", ["maps"], ["y"]),
    ]
    assert cut_zipmap(saved(tmp_path, nodes, [maps("y", TensorProto.INT64)])).classes == {}


@given(st.data())
def test_a_file_that_breaks_off_is_a_fault_or_has_no_zipmap(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut")
    path = saved(folder, [zipmap("x", "y", classlabels_strings=list("abc"))], [maps("y")])
    whole = (folder / "model.onnx").read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    (folder / "model.onnx").write_bytes(whole[:length])
    with contextlib.suppress(OnnxFileFault):
        assert len(cut_zipmap(path).content) <= length + 16


def test_what_is_left_is_a_model_that_onnx_itself_takes_for_one(tmp_path):
    path = saved(
        tmp_path,
        [double(), zipmap(classlabels_strings=list("abc"))],
        [maps("probabilities")],
    )
    model = onnx.load_from_string(cut_zipmap(path).content)
    assert [node.op_type for node in model.graph.node] == ["Add", "Identity"]
    assert [node.domain for node in model.graph.node] == ["", ""]


def test_an_operator_of_that_name_in_another_domain_stays(tmp_path):
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="mine", foo=[7, 8, 9])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    assert cut_zipmap(saved(tmp_path, [node], [output])).classes == {}
