"""Files that ONNX Runtime refuses are opened after rewriting, and answer as they were meant."""

import numpy as np
import onnx
import onnxruntime
import pytest

from gateway.onnx.conversion.rewrite import NotConverted, rewrite
from tests.support import exports


def saved(folder, model):
    path = folder / "in.onnx"
    onnx.save(model, path)
    return path


def opened(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options)


def rewritten(folder, model):
    """A session of the model, rewritten, and what was done."""
    done = rewrite(saved(folder, model), folder / "out.onnx")
    onnx.checker.check_model(folder / "out.onnx")
    return opened(folder / "out.onnx"), done


def declared(session):
    return [(output.name, output.type, output.shape) for output in session.get_outputs()]


@pytest.mark.parametrize(
    "make", [exports.tree, exports.tree_with_maps, exports.mixed, exports.mixed_inputs]
)
def test_the_graphs_are_refused_as_they_are(tmp_path, make):
    with pytest.raises(Exception, match=r"Type Error|Type parameter"):
        opened(saved(tmp_path, make()))


def test_a_tree_of_float64_answers_what_its_library_does_on_a_thousand_rows(tmp_path):
    session, done = rewritten(tmp_path, exports.tree(threshold=0.1))
    assert [(node.name, node.type) for node in session.get_inputs()] == [("x", "tensor(double)")]
    assert declared(session)[1] == ("probabilities", "tensor(float)", ["N", 2])
    rows = exports.rows()
    rows[:200, 0] = 0.1  # float64's 0.1 is below float32's, which the tree was trained on
    label, scores = session.run(None, {"x": rows})
    expected = rows[:, 0].astype(np.float32) > np.float32(0.1)
    assert label.tolist() == expected.astype(int).tolist()
    assert scores.tolist() == [[float(not one), float(one)] for one in expected]
    assert done == (
        "rows are rounded to FP32 before trees, whose thresholds are FP32",
        "output 'probabilities' is declared tensor(float), as it is",
    )


def test_maps_become_a_tensor_under_their_name_and_the_classes_are_noted(tmp_path):
    session, done = rewritten(tmp_path, exports.tree_with_maps(("no", "yes")))
    assert declared(session) == [
        ("label", "tensor(int64)", ["N"]),
        ("probability", "tensor(float)", [None, 2]),
    ]
    _, scores = session.run(None, {"x": np.array([[0.2, 0], [0.9, 0], [0.4, 0]])})
    assert scores.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert session.get_modelmeta().custom_metadata_map == {"labels": '["no", "yes"]'}
    assert done[0] == "ZipMap is cut: 'probability' is a tensor of 2 columns"


def test_answers_in_float32_are_cast_where_the_rest_is_float64(tmp_path):
    session, done = rewritten(tmp_path, exports.mixed())
    assert declared(session)[1] == ("y", "tensor(double)", ["N", 2])
    _, y = session.run(None, {"x": np.array([[0.2, 0], [0.9, 0]])})
    assert y.tolist() == [[2, 0], [0, 2]]
    assert "1 answers in FP32 are cast to the FP64 of the rest" in done


def test_a_graph_of_both_computes_in_float32_and_keeps_its_inputs(tmp_path):
    session, done = rewritten(tmp_path, exports.mixed_inputs())
    assert [node.type for node in session.get_inputs()] == ["tensor(float)", "tensor(double)"]
    feed = {"a": np.ones((2, 1), "f4"), "b": np.array([[3.0], [0.2]])}
    (y,) = session.run(None, feed)
    assert y.dtype == np.float32
    assert y.tolist() == np.array([[1, 1.5], [1, 0.1]], "f4").tolist()
    assert done[:2] == ("the graph computes in FP32", "input 'b' of FP64 is cast to FP32")


def test_an_output_that_is_declared_to_have_one_row_is_declared_with_as_many_as_it_has(tmp_path):
    session, done = rewritten(tmp_path, exports.one_row_declared())
    assert declared(session) == [("label", "tensor(int64)", ["N"])]
    assert done == ("output 'label' is declared with as many rows as it has, not 1",)


@pytest.mark.parametrize("make", [exports.one_row_answered])
def test_what_is_right_is_left_as_it_is(tmp_path, make):
    before = declared(opened(saved(tmp_path, make())))
    session, done = rewritten(tmp_path, make())
    assert (declared(session), done) == (before, ())


def test_external_data_is_written_into_the_file(tmp_path):
    model = exports.mixed_inputs()
    tensor = onnx.numpy_helper.from_array(np.full(2000, 0.5), "half")
    model.graph.initializer[0].CopyFrom(tensor)
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 2000
    path = tmp_path / "in.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    rewrite(path, tmp_path / "out.onnx")
    (tmp_path / "weights").unlink()
    feed = {"a": np.ones((1, 1), "f4"), "b": np.ones((1, 2000))}
    assert opened(tmp_path / "out.onnx").run(None, feed)[0].shape == (1, 2001)


def test_what_cannot_be_cured_is_refused_with_onnx_runtimes_words(tmp_path):
    nodes = [onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])]
    model = exports.model_of(nodes, [("x", exports.DOUBLE, ["N"])], [("y", exports.DOUBLE, ["N"])])
    with pytest.raises(NotConverted, match="NoSuchOperator"):
        rewrite(saved(tmp_path, model), tmp_path / "out.onnx")
    (tmp_path / "none.onnx").write_bytes(b"no model")
    with pytest.raises(NotConverted, match="is no ONNX model"):
        rewrite(tmp_path / "none.onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
