"""Operators and words, read off the file as ONNX's own library has them."""

import onnx
from onnx import TensorProto, helper

from gateway.onnx.graph_facts import graph_facts


def encoder(x, y, **attributes):
    return helper.make_node("LabelEncoder", [x], [y], domain="ai.onnx.ml", **attributes)


def graph(nodes, outputs):
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_graph(nodes, "g", [], infos)


def facts(tmp_path, nodes):
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph(nodes, ["y"])), path)
    return graph_facts(str(path))


def test_operators_of_subgraphs_are_found(tmp_path):
    inner = graph([helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "b", "c"])], ["a"])
    found = facts(
        tmp_path,
        [
            helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=graph([], ["x"])),
            helper.make_node("ReduceSum", ["y"], ["z"]),
        ],
    )
    assert found.operators == {"If", "DynamicQuantizeLinear", "ReduceSum"}
    assert (found.coupling, found.reducing) == ("DynamicQuantizeLinear", "ReduceSum")


def test_words_are_those_that_are_looked_up_not_those_that_are_answered(tmp_path):
    strings = helper.make_tensor("k", TensorProto.STRING, [2], [b"d", b"e"])
    found = facts(
        tmp_path,
        [
            encoder("x", "a", keys_strings=["a", "b"], values_strings=["no", "neither"]),
            encoder("a", "b", keys_tensor=strings),
            helper.make_node("OneHotEncoder", ["b"], ["y"], cats_strings=["c", "b", "l" * 300]),
        ],
    )
    assert found.words == ("a", "b", "d", "e", "c")


def test_a_graph_of_neither_has_no_facts_to_tell(tmp_path):
    found = facts(tmp_path, [helper.make_node("Identity", ["x"], ["y"])])
    assert (found.coupling, found.reducing, found.words) == ("", "", ())
