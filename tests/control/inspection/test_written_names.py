"""Names of classes and columns that a model file brings along."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.inspection.examine import examine
from gateway.control.inspection.job import InspectionJob
from gateway.onnx.file import file_hash


def found(folder, *, classifier=None, outputs=("y",), **metadata):
    """The findings of a linear model, 4 columns to 3, with these notes in its file."""
    folder.mkdir(exist_ok=True)
    weights = numpy_helper.from_array(np.eye(4, 3, dtype="f4"), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], [name]) for name in outputs]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in outputs]
    if classifier:
        nodes.append(
            helper.make_node(
                "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml",
                classlabels_strings=classifier, coefficients=[1.0] * 12, intercepts=[0.0] * 3,
            )
        )  # fmt: skip
        infos = [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
        ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, infos, [weights])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    path = folder / "model.onnx"
    onnx.save(model, path)
    return examine(InspectionJob(str(path), file_hash(path)))


@pytest.mark.parametrize(
    "note",
    ['["a", "b", "c"]', "{0: 'a', 1: 'b', 2: 'c'}", '{"0": "a", "2": "c", "1": "b"}', "a, b, c"],
)
def test_classes_are_noted_as_a_list_or_by_index_in_json_or_in_pythons_words(tmp_path, note):
    assert found(tmp_path, names=note).labels == {"y": ("a", "b", "c")}


def test_columns_are_noted_likewise(tmp_path):
    assert found(tmp_path, feature_names="a,b,c,d").columns == {"x": ("a", "b", "c", "d")}


@pytest.mark.parametrize("note", ["[1, 2, 3]", '["a", "b"]', "hello", "", "{0: 'a', 5: 'b'}", "[["])
def test_what_is_no_list_of_as_many_names_names_nothing(tmp_path, note):
    assert found(tmp_path, names=note).labels == {}


def test_names_that_fit_two_outputs_name_neither(tmp_path):
    assert found(tmp_path, names="a,b,c", outputs=("y", "z")).labels == {}


def test_a_classifiers_classes_name_the_columns_of_its_scores(tmp_path):
    assert found(tmp_path, classifier=["a", "b", "c"]).labels == {"scores": ("a", "b", "c")}


def test_classes_that_are_the_columns_numbers_name_nothing(tmp_path):
    assert found(tmp_path, names="0,1,2").labels == {}
