"""`gateway convert` on files as converters write them, and what points to it."""

import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support import exports, graphs


@pytest.fixture
def exported(tmp_path):
    onnx.save(exports.tree_with_maps(), tmp_path / "exported.onnx")
    return tmp_path / "exported.onnx"


def test_a_file_that_is_refused_names_the_command(gateway, tmp_path):
    (tmp_path / "models/wine/1").mkdir(parents=True)
    onnx.save(exports.tree(), tmp_path / "models/wine/1/model.onnx")
    done = gateway("check", tmp_path / "models")
    assert done.status == 1
    assert "`gateway convert IN.onnx OUT.onnx` rewrites it" in done.faults[0]


def test_a_file_becomes_a_model_that_is_served(gateway, exported, tmp_path):
    done = gateway("convert", exported, tmp_path / "models/wine")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{tmp_path}/models/wine/1/model.onnx",
        "  ZipMap is cut: 'probability' is a tensor of 2 columns",
        "  rows are rounded to FP32 before trees, whose thresholds are FP32",
    ]
    checked = gateway("check", tmp_path / "models")
    assert checked.status == 0
    assert "x FP64 [-1,2]" in checked.out
    assert [path.name for path in (tmp_path / "models/wine/1").iterdir()] == ["model.onnx"]


def test_a_file_is_written_over_by_force_only(gateway, exported, tmp_path):
    target = tmp_path / "out.onnx"
    target.write_bytes(b"mine")
    done = gateway("convert", exported, target)
    assert (done.status, done.faults) == (
        1,
        [f"{target} is there already (--force writes over it)"],
    )
    assert gateway("convert", exported, target, "--force").status == 0
    assert onnxruntime.InferenceSession(target).get_inputs()[0].name == "x"


def test_what_needs_nothing_is_copied_and_said_so(gateway, tmp_path):
    source = graphs.scale(tmp_path, "m")
    done = gateway("convert", source, tmp_path / "out.onnx")
    assert done.out.splitlines()[1:] == ["  nothing had to be rewritten"]
    x = {"x": np.ones((1, 4), "f4")}
    assert onnxruntime.InferenceSession(tmp_path / "out.onnx").run(None, x)[0].tolist() == [[2] * 4]


def test_what_cannot_be_converted_is_said_and_leaves_nothing(gateway, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    done = gateway("convert", tmp_path / "text.onnx", tmp_path / "out.onnx")
    assert (done.status, "is no ONNX model" in done.faults[0]) == (1, True)
    gone = gateway("convert", tmp_path / "nobody.onnx", tmp_path / "out.onnx")
    assert (gone.status, gone.faults) == (2, [f"{tmp_path}/nobody.onnx is no file"])
    assert [path.name for path in tmp_path.iterdir()] == ["text.onnx"]


def test_without_the_package_it_says_what_to_install(gateway, exported, tmp_path):
    """The program's Python does not find the package, as in a bare environment."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\n"
        "(finder,) = [each for each in sys.meta_path if 'PathFinder' in str(each)]\n"
        "class Hider:\n"
        "    @staticmethod\n"
        "    def find_spec(name, *more):\n"
        "        return None if name == 'onnx' else finder.find_spec(name, *more)\n"
        "sys.meta_path[sys.meta_path.index(finder)] = Hider\n"
    )
    path = os.pathsep.join([str(hidden), os.environ.get("PYTHONPATH", ""), *sys.path])
    done = gateway("convert", exported, tmp_path / "out.onnx", env={"PYTHONPATH": path})
    assert (done.status, done.faults) == (
        1,
        ["the package onnx is not installed: pip install 'onnx-gateway[convert]'"],
    )
