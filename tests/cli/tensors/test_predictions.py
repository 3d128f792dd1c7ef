"""Answers as tables, JSON and arrays."""

import io
import json

import ml_dtypes
import numpy as np
import pytest

from gateway.cli.tensors.predictions import as_json, as_npz, as_table, read_outputs
from gateway.core.errors import InvalidRequest
from gateway.protocol.generated.inference_pb2 import ModelInferResponse
from gateway.protocol.tensors import encode_raw


def response(*outputs):
    """An answer with raw contents; each output is name, datatype, array."""
    made = ModelInferResponse(model_name="m", model_version="3")
    for name, datatype, array in outputs:
        made.outputs.add(name=name, datatype=datatype, shape=array.shape)
        made.raw_output_contents.append(encode_raw(array, datatype))
    return made


LABELS = np.array([["é", "b"], ["", "long text"]], object)
MIXED = response(
    ("score", "FP32", np.array([0.5, 1e-7], "f4")),
    ("label", "BYTES", LABELS),
    ("whole", "FP64", np.array(2.5)),
)


def test_a_table_has_a_line_for_each_row_and_other_shapes_below():
    lines = as_table(read_outputs(MIXED)).splitlines()
    assert lines[:3] == [
        "row  score FP32  label BYTES",
        "0    0.5         é b",
        "1    1e-07        long text",
    ]
    assert lines[3:] == ["", "whole FP64 []", "2.5"]


def test_a_long_row_is_cut_and_says_how_long_it_is():
    out = as_table(read_outputs(response(("x", "INT32", np.arange(24, dtype="i4").reshape(2, 12)))))
    assert out.splitlines()[1] == "0    0 1 2 3 4 5 6 7 8 9 ... (12)"


def test_outputs_of_different_lengths_are_shown_one_by_one():
    out = as_table(
        read_outputs(response(("a", "INT64", np.arange(2)), ("b", "INT64", np.arange(3))))
    )
    assert out == "a INT64 [2]\n[0 1]\n\nb INT64 [3]\n[0 1 2]"


def test_an_empty_answer_and_one_without_rows_are_shown():
    assert as_table(()) == ""
    assert as_table(read_outputs(response(("x", "FP32", np.zeros((0, 3), "f4"))))) == "row  x FP32"


def test_json_is_the_protocols_own_with_nested_data():
    document = json.loads(as_json(MIXED, read_outputs(MIXED)))
    assert (document["model_name"], document["model_version"]) == ("m", "3")
    assert document["outputs"][1:] == [
        {
            "name": "label",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": [["é", "b"], ["", "long text"]],
        },
        {"name": "whole", "datatype": "FP64", "shape": [], "data": 2.5},
    ]


def test_npz_holds_every_output_under_its_name_without_pickles():
    outputs = read_outputs(
        response(
            ("file", "INT64", np.arange(2)),
            ("a/b", "BYTES", LABELS),
            ("h", "BF16", np.ones(2, ml_dtypes.bfloat16)),
        )
    )
    with np.load(io.BytesIO(as_npz(outputs)), allow_pickle=False) as file:
        assert file["file"].tolist() == [0, 1]
        assert file["a/b"].tolist() == LABELS.tolist()
        assert file["h"].dtype == np.float32
        assert file["h"].tolist() == [1.0, 1.0]


def test_typed_contents_are_read_as_well_as_raw_ones():
    typed = ModelInferResponse(model_name="m")
    typed.outputs.add(name="x", datatype="FP32", shape=[2]).contents.fp32_contents.extend(
        [1.0, 2.0]
    )
    typed.outputs.add(name="t", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    assert [output.array.tolist() for output in read_outputs(typed)] == [[1.0, 2.0], ["a"]]


def test_an_answer_that_is_not_well_formed_is_an_error():
    broken = response(("t", "BYTES", np.array(["abc"], object)))
    broken.raw_output_contents[0] = b"\xff\0\0\0abc"
    with pytest.raises(InvalidRequest, match="incomplete string data"):
        read_outputs(broken)


SCORES = response(("scores", "FP32", np.array([[0.1, 0.7, 0.2], [1, 0, 0]], "f4")))


def test_columns_with_class_names_are_shown_with_them():
    outputs = read_outputs(SCORES, {"scores": ("red", "green", "blue")})
    assert as_table(outputs).splitlines()[1:] == [
        "0    red 0.1, green 0.7, blue 0.2",
        "1    red 1, green 0, blue 0",
    ]
    (output,) = json.loads(as_json(SCORES, outputs))["outputs"]
    assert output["parameters"] == {"labels": ["red", "green", "blue"]}


def test_of_many_classes_the_likeliest_are_shown():
    many = response(("scores", "FP32", np.arange(100, dtype="f4")[None]))
    outputs = read_outputs(many, {"scores": tuple(f"c{i}" for i in range(100))})
    assert as_table(outputs).splitlines()[1] == "0    c99 99, c98 98, c97 97, and 97 more"


def test_names_of_another_number_than_the_columns_name_nothing():
    (output,) = read_outputs(SCORES, {"scores": ("red", "green")})
    assert output.labels == ()


def test_json_has_all_parameters_and_the_id():
    answered = response(("y", "FP32", np.zeros(1, "f4")))
    answered.id = "7"
    answered.parameters["degraded"].bool_param = True
    answered.parameters["served_by"].string_param = "version 1"
    answered.parameters["count"].int64_param = 3
    document = json.loads(as_json(answered, read_outputs(answered)))
    assert document["id"] == "7"
    assert document["parameters"] == {"count": 3, "degraded": True, "served_by": "version 1"}


@pytest.mark.parametrize(("datatype", "dtype"), [("UINT8", "u1"), ("INT8", "i1"), ("BOOL", "?")])
def test_the_likeliest_are_found_among_whole_numbers_too(datatype, dtype):
    scores = response(("s", datatype, np.array([[0, 100, 3, 0, 0, 5]]).astype(dtype)))
    outputs = read_outputs(scores, {"s": tuple("abcdef")})
    assert as_table(outputs).splitlines()[1].startswith("0    b ")
