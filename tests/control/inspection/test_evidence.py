"""Which models may be batched, shown on real models that ONNX Runtime runs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from gateway.control.inspection.evidence import axes_against, weigh
from gateway.core.plan import GraphTensor, SessionPlan
from gateway.onnx.graph_facts import graph_facts
from gateway.onnx.session import Session
from tests.support.inspection_models import (
    BOOL,
    F32,
    I64,
    STRING,
    argmax,
    constant,
    cumsum,
    dynamically_quantised,
    embedding,
    hard_coded_batch,
    minus_mean,
    mlp,
    model,
    node,
    positions_of_nonzero,
    recurrent_state,
    rowwise,
    save,
    softmax_over_rows,
    tensor,
    time_first,
    two_names,
    weights,
    with_optional,
    with_scalar,
)


def evidence(tmp_path, proto, reference=None, **options):
    path = save(tmp_path, proto)
    return weigh(Session(path, SessionPlan()), reference, graph_facts(path), **options)


def image_model():
    nodes = [
        node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    return model(
        nodes,
        [tensor("x", F32, ["N", 3, "H", "W"])],
        [tensor("y", F32, ["N", 5])],
        [weights("w", 5, 3, 3, 3)],
    )


def string_labels():
    labels = node(
        "LabelEncoder",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        keys_strings=["red", "blue"],
        values_int64s=[1, 2],
        default_int64=-1,
    )
    return model([labels], [tensor("x", STRING, ["N", 2])], [tensor("y", I64, ["N", 2])])


def signs():
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Greater", ["h", "h0"], ["y"])]
    return model(
        nodes,
        [tensor("x", F32, ["N", 4])],
        [tensor("y", BOOL, ["N", 3])],
        [weights("w", 4, 3), weights("h0", 1)],
    )


def logarithm():
    return rowwise("Log")


def doubled(datatype):
    nodes = [
        node("Cast", ["x"], ["f"], to=F32),
        node("Add", ["f", "f"], ["g"]),
        node("Cast", ["g"], ["y"], to=datatype),
    ]
    return model(nodes, [tensor("x", datatype, ["N", 4])], [tensor("y", datatype, ["N", 4])])


def equal_lengths():
    """A model with two free inner axes of different names, which must nevertheless agree."""
    inputs = [tensor("ids", I64, ["N", "a"]), tensor("mask", F32, ["N", "b"])]
    nodes = [node("Cast", ["ids"], ["f"], to=F32), node("Mul", ["f", "mask"], ["y"])]
    return model(nodes, inputs, [tensor("y", F32, ["N", None])])


def fixed_but_said_free(size):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    return model(
        nodes,
        [tensor("x", F32, ["N", "features"])],
        [tensor("y", F32, ["N", 3])],
        [weights("w", size, 3)],
    )


BATCHABLE = {
    "a small network": mlp,
    "labels beside scores": argmax,
    "axes of different name": two_names,
    "images of free size": image_model,
    "an embedding": embedding,
    "strings": string_labels,
    "booleans out": signs,
    "a logarithm, finite on positive rows only": logarithm,
    "FP16": lambda: doubled(onnx.TensorProto.FLOAT16),
    "BF16": lambda: doubled(onnx.TensorProto.BFLOAT16),
    "FP64": lambda: doubled(onnx.TensorProto.DOUBLE),
    "inner axes that must agree": equal_lengths,
    "an inner axis said to be free that the weights fix": lambda: fixed_but_said_free(64),
    "an optional input with rows": lambda: with_optional(("M", 4)),
}


@pytest.mark.parametrize("name", BATCHABLE)
def test_rows_that_know_nothing_of_each_other_may_be_batched(tmp_path, name):
    found = evidence(tmp_path, BATCHABLE[name]())

    assert found.batchable, found.sentence
    assert found.rows == 5
    assert found.sentence.startswith("5 rows of different scale (random values")


def power_over_batch():
    """A model that divides by the number of rows: right for one row, wrong for two."""
    nodes = [
        node("Shape", ["x"], ["s"], start=0, end=1),
        node("Cast", ["s"], ["n"], to=F32),
        node("Div", ["x", "n"], ["y"]),
    ]
    return model(nodes, [tensor("x", F32, ["N", 4])], [tensor("y", F32, ["N", 4])])


def at_most_ten_rows():
    """A model that adds a table of ten rows, as a position embedding on the wrong axis does."""
    nodes = [
        node("Shape", ["x"], ["n"], start=0, end=1),
        node("Sub", ["ten", "n"], ["rest"]),
        node("Sqrt", ["rest_f"], ["root"]),
        node("Where", ["few", "x", "nan"], ["y"]),
    ]
    nodes.insert(2, node("Cast", ["rest"], ["rest_f"], to=F32))
    nodes.insert(4, node("Equal", ["root", "root"], ["few"]))
    made = [constant("ten", [10], np.int64), constant("nan", [np.nan])]
    return model(nodes, [tensor("x", F32, ["N", 4])], [tensor("y", F32, ["N", 4])], made)


def outer_product():
    nodes = [node("Transpose", ["b"], ["t"], perm=[1, 0]), node("MatMul", ["a", "t"], ["y"])]
    return model(
        nodes,
        [tensor("a", F32, [None, 4]), tensor("b", F32, [None, 4])],
        [tensor("y", F32, [None, None])],
    )


def random_noise():
    nodes = [node("RandomNormalLike", ["x"], ["r"]), node("Add", ["x", "r"], ["y"])]
    return model(nodes, [tensor("x", F32, ["N", 4])], [tensor("y", F32, ["N", 4])])


def sorted_rows():
    nodes = [node("TopK", ["x", "k"], ["y", "i"], axis=0)]
    nodes.insert(0, node("Shape", ["x"], ["k"], start=0, end=1))
    return model(nodes, [tensor("x", F32, ["N", 1])], [tensor("y", F32, ["N", 1])])


def rank_among_rows():
    nodes = [
        node("ReduceMax", ["x", "axes"], ["m"], keepdims=1),
        node("GreaterOrEqual", ["x", "m"], ["y"]),
    ]
    return model(
        nodes,
        [tensor("x", F32, ["N", 4])],
        [tensor("y", BOOL, ["N", 4])],
        [constant("axes", [0], np.int64)],
    )


def never_finite():
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Sub", ["b", "one"], ["c"]),
        node("Log", ["c"], ["y"]),
    ]
    return model(
        nodes, [tensor("x", F32, ["N", 4])], [tensor("y", F32, ["N", 4])], [constant("one", [1.0])]
    )


def adjacency():
    inputs = [tensor("x", F32, ["nodes", 4]), tensor("edges", F32, ["nodes", "nodes"])]
    return model([node("MatMul", ["edges", "x"], ["y"])], inputs, [tensor("y", F32, ["nodes", 4])])


NOT_BATCHABLE = {
    "a mean over the batch": (
        minus_mean,
        "output 'y' differs between rows together and rows apart by",
    ),
    "a running sum over the batch": (cumsum, "differs between rows together and rows apart"),
    "a softmax over the batch": (softmax_over_rows, "differs between rows together and rows apart"),
    "a dynamic quantisation": (
        dynamically_quantised,
        "DynamicQuantizeLinear takes its scale from all rows of a batch",
    ),
    "a division by the batch's size": (
        power_over_batch,
        "differs between rows together and rows apart",
    ),
    "a comparison with the other rows": (rank_among_rows, "in values that must be equal"),
    "a table that larger batches overrun": (
        at_most_ten_rows,
        "differs between rows together and rows apart",
    ),
    "sorting": (sorted_rows, "differs between rows together and rows apart"),
    "noise": (random_noise, "differs when the same rows are run again"),
    "all rows against all rows": (
        outer_product,
        "output 'y' has shape [5, 5] for 5 rows, [5, 1] were expected",
    ),
    "a state whose batch axis is second": (
        recurrent_state,
        "input 'state' has a fixed first axis (1)",
    ),
    "time first": (time_first, "differs between rows together and rows apart"),
    "rows that only the data decides": (positions_of_nonzero, "where one row was asked"),
    "a batch of one, hard-coded": (
        hard_coded_batch,
        "rows run alone, but 5 together fail: ONNX Runtime failed to run the model",
    ),
    "a scalar input": (with_scalar, "input 'gain' has no axes"),
    "a fixed batch": (
        lambda: rowwise("Relu", shape=(1, 4)),
        "input 'x' has a fixed first axis (1)",
    ),
    "an optional input without rows": (
        with_optional,
        "optional input 'bias' has a fixed first axis (1)",
    ),
    "nothing finite": (
        never_finite,
        "output 'y' was NaN or infinite all over for random values, random positive values",
    ),
    "an adjacency matrix": (
        adjacency,
        "the first axis of input 'x', 'nodes', is an inner axis elsewhere",
    ),
}


@pytest.mark.parametrize("name", NOT_BATCHABLE)
def test_what_looks_beyond_its_row_is_not_batched_and_the_reason_is_said(tmp_path, name):
    build, reason = NOT_BATCHABLE[name]

    found = evidence(tmp_path, build())

    assert not found.batchable
    assert reason in found.sentence
    assert found.ran


def test_a_quantised_copy_of_a_batchable_network_is_not_batchable(tmp_path):
    """The model that ONNX Runtime's own dynamic quantisation makes."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = save(tmp_path, mlp(width=64))
    quantization.quantize_dynamic(source, tmp_path / "quantised.onnx")

    assert weigh(Session(source, SessionPlan())).batchable
    assert not weigh(Session(str(tmp_path / "quantised.onnx"), SessionPlan())).batchable


def values_of_words(*, by_the_largest):
    """The value of a word that the graph knows, 1 of any other; of the largest in the batch."""
    value = node(
        "LabelEncoder",
        ["x"],
        ["v"],
        domain="ai.onnx.ml",
        keys_strings=[f"item-{k}" for k in range(50)],
        values_floats=[float(k + 1) for k in range(50)],
        default_float=1.0,
    )
    rest = (
        [node("ReduceMax", ["v"], ["m"], keepdims=1), node("Div", ["v", "m"], ["y"])]
        if by_the_largest
        else [node("Add", ["v", "v"], ["y"])]
    )
    return model([value, *rest], [tensor("x", STRING, ["N"])], [tensor("y", F32, ["N"])])


def test_strings_are_tried_with_the_words_that_the_graph_knows(tmp_path):
    """All others are answered alike, and so show nothing."""
    assert evidence(tmp_path, values_of_words(by_the_largest=False)).batchable
    found = evidence(tmp_path, values_of_words(by_the_largest=True))
    assert not found.batchable
    assert "differs between rows together and rows apart" in found.sentence


def test_rows_that_are_answered_alike_prove_nothing(tmp_path):
    path = save(tmp_path, values_of_words(by_the_largest=True))
    found = weigh(Session(path, SessionPlan()))  # without the words
    assert not found.batchable
    assert found.sentence.startswith("all rows were answered alike")


def label_of(nodes, score):
    label = node("ArgMax", [score], ["y"], axis=1, keepdims=0)
    return model(
        [*nodes, label],
        [tensor("x", F32, ["N", 4])],
        [tensor("y", I64, ["N"])],
        [weights("w", 4, 3)],
    )


def test_a_label_alone_is_evidence_only_where_no_operator_looks_over_rows(tmp_path):
    scores = node("MatMul", ["x", "w"], ["s"])
    centred = [
        scores,
        node("ReduceMean", ["s", "rows"], ["m"], keepdims=1),
        node("Mul", ["m", "w00"], ["little"]),
        node("Sub", ["s", "little"], ["c"]),
    ]
    assert evidence(tmp_path, label_of([scores], "s")).batchable
    made = label_of(centred, "c")
    made.graph.initializer.extend([constant("w00", 1e-6), constant("rows", [0], np.int64)])
    found = evidence(tmp_path, made)
    assert not found.batchable
    assert "ReduceMean may look over rows" in found.sentence


def test_a_model_without_inputs_is_not_batchable(tmp_path):
    proto = model(
        [node("Constant", [], ["y"], value_floats=[1.0, 2.0])], [], [tensor("y", F32, [2])]
    )

    found = evidence(tmp_path, proto)

    assert (found.batchable, found.sentence, found.ran) == (False, "the model has no inputs", True)


def test_where_no_run_succeeds_there_is_no_evidence(tmp_path):
    found = evidence(tmp_path, fixed_but_said_free(61))

    assert not found.batchable
    assert not found.ran
    assert found.sentence.startswith("no row ran alone: ONNX Runtime failed to run the model")


def test_a_reference_sample_settles_a_size_no_guess_would_find(tmp_path):
    found = evidence(tmp_path, fixed_but_said_free(61), {"x": np.ones((2, 61), np.float32)})

    assert found.batchable, found.sentence
    assert "the reference sample's values" in found.sentence


def only_hundreds():
    """An embedding whose smallest index for callers is 100; a smaller one is an error."""
    nodes = [node("Sub", ["ids", "hundred"], ["i"]), node("Sub", ["i", "i"], ["z"])]
    nodes += [
        node("Less", ["i", "z"], ["low"]),
        node("Where", ["low", "beyond", "i"], ["j"]),
        node("Gather", ["table", "j"], ["y"]),
    ]
    made = [
        constant("hundred", 100, np.int64),
        constant("beyond", 10**6, np.int64),
        weights("table", 5, 3),
    ]
    return model(nodes, [tensor("ids", I64, ["N"])], [tensor("y", F32, ["N", 3])], made)


def test_integers_come_from_the_reference_sample(tmp_path):
    assert not evidence(tmp_path, only_hundreds()).ran
    assert evidence(tmp_path, only_hundreds(), {"ids": np.array([100, 103, 104])}).batchable


def test_an_embedding_of_two_words_is_tried_with_smaller_integers(tmp_path):
    assert evidence(tmp_path, embedding(words=2)).batchable


def test_rows_too_slow_to_try_together_are_no_evidence_but_ran(tmp_path):
    found = evidence(tmp_path, mlp(), budget_s=0.0)

    assert (found.batchable, found.rows, found.ran) == (False, 1, True)
    assert "too long for trial runs" in found.sentence


def test_equal_seeds_find_equal_evidence(tmp_path):
    first, second = (evidence(tmp_path, argmax()) for _ in range(2))

    assert first.sentence == second.sentence
    assert all(np.array_equal(first.feed[name], second.feed[name]) for name in first.feed)


def test_a_batch_axis_may_bear_another_name_in_every_tensor():
    a, b, y = (
        GraphTensor(name, "tensor(float)", (axis, 3))
        for name, axis in (("a", "N"), ("b", None), ("y", "M"))
    )

    assert axes_against([a, b], [y]) == ""
