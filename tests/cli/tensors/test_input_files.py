"""Inputs out of JSON, .npz and CSV."""

import io
import json

import numpy as np
import pytest

from gateway.cli.command_errors import CommandError
from gateway.cli.tensors.input_files import read_inputs
from gateway.cli.tensors.input_tensors import make_tensors
from gateway.core.plan import TensorSpec

IMAGE = (TensorSpec("image", "FP32", (-1, 2, 2)),)
TWO = (TensorSpec("x", "FP32", (-1, 3)), TensorSpec("n", "INT64", (-1,)))
ROW = (
    TensorSpec("species", "BYTES", (-1, 1)),
    TensorSpec("mass", "INT64", (-1,)),
    TensorSpec("wet", "BOOL", (-1, 1)),
    TensorSpec("length", "FP64", (-1,)),
)
FEATURES = (TensorSpec("features", "FP32", (-1, 3)),)


def read(tmp_path, name, content, specs):
    """The tensors of a file, as nested lists, and the names that were no inputs."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    tensors, strangers = make_tensors(read_inputs(str(path), specs), specs, name)
    return {key: array.tolist() for key, array in tensors.items()}, strangers


def fault(tmp_path, name, content, specs):
    with pytest.raises(CommandError) as caught:
        read(tmp_path, name, content, specs)
    assert caught.value.status == 2
    assert all(line.startswith((name, str(tmp_path / name))) for line in caught.value.faults)
    return " | ".join(caught.value.faults)


@pytest.mark.parametrize(
    "document",
    [
        {"x": [[1, 2, 3]], "n": [4]},
        {"inputs": {"x": [[1, 2, 3]], "n": [4]}, "labels": ["a"]},
        {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]},
                {"name": "n", "shape": [1], "data": [4]},
            ]
        },
        {"inputs": [{"name": "x", "data": [[1, 2, 3]]}, {"name": "n", "data": [4]}], "id": "7"},
        {"x": [1, 2, 3], "n": 4},
    ],
)
def test_json_in_each_of_its_forms_means_the_same(tmp_path, document):
    assert read(tmp_path, "a.json", json.dumps(document), TWO) == (
        {"x": [[1.0, 2.0, 3.0]], "n": [4]},
        (),
    )


def test_a_list_is_the_only_input_of_a_model_with_one(tmp_path):
    assert read(tmp_path, "a.json", "[[[1, 2], [3, 4]]]", IMAGE)[0] == {
        "image": [[[1.0, 2.0], [3.0, 4.0]]]
    }
    assert read(tmp_path, "a.json", "[[1, 2], [3, 4]]", IMAGE)[0] == {
        "image": [[[1.0, 2.0], [3.0, 4.0]]]
    }
    assert 'is a list, but the model has 2 inputs; name them: {"x": [...], "n": [...]}' in fault(
        tmp_path, "a.json", "[1]", TWO
    )


def test_an_input_that_is_called_inputs_is_an_input(tmp_path):
    assert read(
        tmp_path, "a.json", '{"inputs": [[1, 2, 3]]}', (TensorSpec("inputs", "FP32", (-1, 3)),)
    )[0] == {"inputs": [[1.0, 2.0, 3.0]]}


def test_texts_of_the_protocols_form_keep_their_shape(tmp_path):
    document = {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [2, 1], "data": ["é", ""]}]}
    assert read(tmp_path, "a.json", json.dumps(document), (TensorSpec("t", "BYTES", (-1, 1)),))[
        0
    ] == {"t": [["é"], [""]]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"x": [[1, 2, 3]', "is not JSON: Expecting"),
        ("hello", 'is not JSON: expected an object such as {"x": [[1, 2]]}'),
        ('{"inputs": [{"name": "x"}]}', "the tensor 'x' has no data"),
        (
            '{"inputs": [{"name": "x", "shape": [2, 2], "data": [1]}]}',
            "the tensor 'x' does not have the shape [2, 2]",
        ),
        ('{"xs": [[1, 2, 3]], "n": [1]}', "'xs' is no input of the model; did you mean x?"),
        ('{"a": 1, "bb": 2}', "has none of the model's inputs (x, n), only a, bb"),
        ("{}", "has none of the model's inputs (x, n), only nothing"),
        ('{"x": [[1, 2]], "n": [0.5]}', "input 'x': has the shape [1,2], the model takes [-1,3]"),
        (
            '{"x": [[1, 2]], "n": [0.5]}',
            (
                "input 'n': takes whole numbers of -9223372036854775808 to "
                "9223372036854775807 (INT64), got 0.5"
            ),
        ),
        ('{"x": [[1, 2, 3], [1, 2]], "n": [1]}', "input 'x': has rows of different lengths"),
        ('{"x": [[1, 2, null]], "n": [1]}', "input 'x': takes numbers (FP32), got None"),
        ('{"x": [[1, 2, "3"]], "n": [1]}', "input 'x': takes numbers (FP32), got"),
    ],
)
def test_json_that_does_not_fit_is_refused_with_the_reason(tmp_path, content, text):
    assert text in fault(tmp_path, "a.json", content, TWO)


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_npz_arrays_are_inputs_by_name_and_others_are_told(tmp_path):
    content = npz(x=np.ones((2, 3), "f8"), n=np.array([1, 2], "u1"), label=np.array(["a", "b"]))
    assert read(tmp_path, "a.npz", content, TWO) == (
        {"x": [[1.0] * 3] * 2, "n": [1, 2]},
        ("label",),
    )


def test_npz_texts_may_be_of_either_kind(tmp_path):
    spec = (TensorSpec("t", "BYTES", (-1,)),)
    assert read(tmp_path, "a.npz", npz(t=np.array(["é", "long"])), spec)[0] == {"t": ["é", "long"]}
    assert read(tmp_path, "a.npz", npz(t=np.array([b"a", b"bc"])), spec)[0] == {"t": [b"a", b"bc"]}


def test_npz_pickles_are_never_opened(tmp_path):
    assert "is not a readable .npz file: Object arrays cannot be loaded" in fault(
        tmp_path, "a.npz", npz(t=np.array([{}], object)), IMAGE
    )
    assert "is not a readable .npz file" in fault(
        tmp_path, "a.npz", b"PK\x03\x04 not really", IMAGE
    )


def test_csv_has_a_column_for_each_input_and_others_are_told(tmp_path):
    content = (
        (
            "\ufeffspecies,mass,label,wet,length\nGentoo,5700,x,true,1.5\n\n"
            "'Adélie, small',4_250,y,0,2\n"
        )
        .replace("'", '"')
        .replace("_", "")
    )
    tensors, strangers = read(tmp_path, "a.csv", content, ROW)
    assert tensors == {
        "species": [["Gentoo"], ["Adélie, small"]],
        "mass": [5700, 4250],
        "wet": [[True], [False]],
        "length": [1.5, 2.0],
    }
    assert strangers == ("label",)


def test_csv_columns_are_the_features_of_a_models_only_input(tmp_path):
    assert read(tmp_path, "a.csv", "a,b,c,label\n1,2,3,x\n4,5,6,y\n", FEATURES) == (
        {"features": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]},
        ("label",),
    )
    assert read(tmp_path, "a.csv", "a,b,c,d\n1,2,3,4\n", IMAGE)[0] == {
        "image": [[[1.0, 2.0], [3.0, 4.0]]]
    }
    assert read(tmp_path, "a.csv", "a,b\n1,2\n", (TensorSpec("x", "FP32", (-1, -1)),))[0] == {
        "x": [[1.0, 2.0]]
    }


def test_large_whole_numbers_of_a_csv_keep_every_digit(tmp_path):
    spec = (TensorSpec("n", "INT64", (-1,)),)
    assert read(tmp_path, "a.csv", "n\n9007199254740993\n-9223372036854775808\n3.0\n", spec)[0] == {
        "n": [9007199254740993, -(2**63), 3]
    }


@pytest.mark.parametrize(
    ("content", "specs", "text"),
    [
        ("", FEATURES, "is empty: expected a line with the names of the columns"),
        ("1,2,3\n4,5,6\n", FEATURES, "begins with numbers: its first line must name the columns"),
        ("a,b,c\n1,2\n", FEATURES, "line 2 has 2 cells, the first line names 3 columns"),
        (
            "a,b\n1,2\n",
            FEATURES,
            "input 'features' takes 3 values a row, the file has 2 columns for them: a, b",
        ),
        ("a,a,c\n1,2,3\n", FEATURES, "names a column twice"),
        ("a,b,c\n1,two,3\n", FEATURES, "line 2, column 'b': expected a number, got 'two'"),
        (
            "species,mass,wet,length\nx,1.5,1,1\n",
            ROW,
            "line 2, column 'mass': expected a whole number, got '1.5'",
        ),
        (
            "species,mass,wet,length\nx,1,perhaps,1\n",
            ROW,
            "line 2, column 'wet': expected true or false, got 'perhaps'",
        ),
        (
            "x,n\n1,2\n",
            TWO,
            (
                "input 'x' has more than one value a row, which one column "
                "cannot hold: use JSON or .npz"
            ),
        ),
        (
            "specie,mass,wet,length\nx,1,1,1\n",
            ROW,
            "'specie' is no input of the model; did you mean species?",
        ),
    ],
)
def test_csv_that_does_not_fit_is_refused_with_the_place(tmp_path, content, specs, text):
    assert text in fault(tmp_path, "a.csv", content, specs)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"no\.json cannot be read: No such file"):
        read_inputs(str(tmp_path / "no.json"), IMAGE)
    assert "is neither an .npz file nor UTF-8 text" in fault(
        tmp_path, "a.bin", b"\xff\xfe\x00", IMAGE
    )
