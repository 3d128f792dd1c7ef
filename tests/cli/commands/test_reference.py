"""`gateway reference` on real models: rows of a file become the sample that trial runs use."""

import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support import graphs
from tests.support.checkout import ROOT

PENGUINS = """species,island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex
Gentoo,Biscoe,49.6,,225,5700,male
Adelie,Dream,39.2,18.6,190,4250,female
Chinstrap,Dream,,17.5,187,3900,female
"""


@pytest.fixture
def penguins(tmp_path):
    """The model of penguins without its reference sample."""
    shutil.copytree(ROOT / "models/penguins/1", tmp_path / "penguins/1")
    return tmp_path / "penguins"


@pytest.fixture
def codes(tmp_path):
    """A one-hot encoder of numbers that nobody would guess; an unknown one fails the run."""
    encode = helper.make_node(
        "OneHotEncoder", ["code"], ["y"], cats_int64s=[70_001, 70_020], zeros=0,
        domain="ai.onnx.ml",
    )  # fmt: skip
    graphs.save(
        tmp_path / "codes/1/model.onnx",
        [encode],
        [("code", TensorProto.INT64, ["N"])],
        [("y", TensorProto.FLOAT, ["N", 2])],
    )
    return tmp_path / "codes"


def written(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def stored(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_a_csv_is_written_as_the_model_takes_it(gateway, penguins, tmp_path):
    rows = written(tmp_path, "rows.csv", PENGUINS)
    done = gateway("reference", penguins, "--from", rows)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{penguins}/reference.npz: 3 of 3 rows of {rows}",
        "  species BYTES [3]",
        "  island BYTES [3]",
        "  bill_length_mm FP32 [3]",
        "  bill_depth_mm FP32 [3]",
        "  flipper_length_mm INT64 [3]",
        "  body_mass_g INT64 [3]",
        "  left out, no inputs of the model: sex",
    ]
    found = stored(penguins / "reference.npz")
    assert found["species"].tolist() == ["Gentoo", "Adelie", "Chinstrap"]
    assert found["body_mass_g"].dtype == np.int64
    assert found["bill_length_mm"].dtype == np.float32
    assert np.isnan(found["bill_length_mm"]).tolist() == [False, False, True]
    assert [path.name for path in sorted(penguins.iterdir())] == ["1", "reference.npz"]


def evidence(gateway, folder):
    """The reason that `gateway check` gives for how the model is batched."""
    report = gateway("check", folder).out
    return next(line for line in report.splitlines() if "because" in line)


def test_a_model_that_knows_no_made_up_row_names_the_command_and_is_batched_after_it(
    gateway, codes, tmp_path
):
    assert "gateway reference MODEL --from rows.csv" in evidence(gateway, codes)
    rows = written(tmp_path, "rows.csv", "code\n70001\n70020\n70020\n")
    assert gateway("reference", codes, "--from", rows).status == 0
    assert "the reference sample's values" in evidence(gateway, codes)
    assert "batching  up to 64 rows" in gateway("check", codes).out


def test_rows_are_spread_over_the_file(gateway, codes, tmp_path):
    lines = ["70001"] * 500 + ["70020"] * 500
    rows = written(tmp_path, "rows.csv", "\n".join(["code", *lines]))
    done = gateway("reference", codes, "--from", rows, "--rows", "10")
    assert "10 of 1000 rows" in done.out
    assert stored(codes / "reference.npz")["code"].tolist() == [70_001] * 5 + [70_020] * 5


@pytest.mark.parametrize("form", ["json", "npz"])
def test_json_and_npz_are_taken_too(gateway, codes, tmp_path, form):
    if form == "json":
        rows = written(tmp_path, "rows.json", '{"code": [70001, 70020]}')
    else:
        rows = tmp_path / "rows.npz"
        np.savez(rows, code=np.array([70_001, 70_020], np.int32))
    assert gateway("reference", codes, "--from", rows).status == 0
    found = stored(codes / "reference.npz")["code"]
    assert (found.dtype, found.tolist()) == (np.int64, [70_001, 70_020])


def test_a_file_by_itself_has_its_sample_beside_it_or_in_its_models_folder(
    gateway, codes, tmp_path
):
    rows = written(tmp_path, "rows.csv", "code\n70001\n")
    assert gateway("reference", codes / "1/model.onnx", "--from", rows).status == 0
    assert (codes / "reference.npz").exists()
    alone = tmp_path / "alone/codes.onnx"
    alone.parent.mkdir()
    shutil.copy(codes / "1/model.onnx", alone)
    assert gateway("reference", alone, "--from", rows).status == 0
    assert (tmp_path / "alone/reference.npz").exists()


def test_the_configured_name_is_kept_to_though_the_file_is_not_there_yet(gateway, codes, tmp_path):
    written(codes, "model.yaml", "reference: real.npz\n")
    rows = written(tmp_path, "rows.csv", "code\n70001\n")
    assert gateway("reference", codes, "--from", rows).status == 0
    assert stored(codes / "real.npz")["code"].tolist() == [70_001]


def test_a_file_that_is_there_is_written_over_by_force_only(gateway, codes, tmp_path):
    rows = written(tmp_path, "rows.csv", "code\n70001\n")
    (codes / "reference.npz").write_bytes(b"mine")
    done = gateway("reference", codes, "--from", rows)
    assert (done.status, done.faults) == (
        1,
        [f"{codes}/reference.npz is there already (--force writes over it)"],
    )
    assert (codes / "reference.npz").read_bytes() == b"mine"
    assert gateway("reference", codes, "--from", rows, "--force").status == 0
    assert stored(codes / "reference.npz")["code"].tolist() == [70_001]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("code\n70001\n\n1.5\n", "line 4, column 'code': expected a whole number, got '1.5'"),
        ("cod\n70001\n", "'cod' is no input of the model; did you mean code?"),
        ("code\n", "has no rows"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(gateway, codes, tmp_path, text, fault):
    rows = written(tmp_path, "rows.csv", text)
    done = gateway("reference", codes, "--from", rows)
    assert (done.status, done.faults) == (2, [f"{rows}: {fault}"])
    assert not (codes / "reference.npz").exists()


def test_what_is_no_model_is_refused(gateway, tmp_path):
    rows = written(tmp_path, "rows.csv", "code\n1\n")
    assert gateway("reference", tmp_path / "nobody", "--from", rows).faults == [
        f"{tmp_path}/nobody is no folder of a model and no .onnx file"
    ]
    several = gateway("reference", ROOT / "models", "--from", rows)
    assert "holds several models, name one: " in several.faults[0]
    wrong = gateway("reference", rows, "--from", rows)
    assert (wrong.status, "cannot open the model" in wrong.faults[0]) == (1, True)
    assert (
        "--rows: expected a number"
        in gateway("reference", tmp_path, "--from", rows, "--rows", "0").faults[0]
    )
