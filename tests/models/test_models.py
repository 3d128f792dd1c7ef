"""The models that ship answer as their README says, whatever other rows are in the batch."""

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.checkout import ROOT

MODELS = ROOT / "models"
# of the twelve in samples.json
SAMPLES_RIGHT = {"breast_cancer/1": 12, "digits/1": 12, "digits/2": 12, "penguins/1": 11}
VERSIONS = sorted(SAMPLES_RIGHT)
NUMPY_TYPES = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(string)": np.dtype(object),
}


def opened(version, intra_op_threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    return onnxruntime.InferenceSession(
        MODELS / version / "model.onnx", options, providers=["CPUExecutionProvider"]
    )


def answers(session, rows):
    return dict(
        zip([output.name for output in session.get_outputs()], session.run(None, rows), strict=True)
    )


def reference(name):
    with np.load(MODELS / name / "reference.npz") as file:
        return {
            key: file[key].astype(object) if file[key].dtype.kind == "U" else file[key]
            for key in file.files
        }


def samples(session, name):
    said = json.loads((MODELS / name / "samples.json").read_text(encoding="utf-8"))
    types = {tensor.name: NUMPY_TYPES[tensor.type] for tensor in session.get_inputs()}
    return {key: np.array(said["inputs"][key], types[key]) for key in said["inputs"]}, said[
        "labels"
    ]


def labels(name):
    return (MODELS / name / "labels.txt").read_text(encoding="utf-8").splitlines()


def test_every_model_in_the_folder_is_tested_here():
    assert (
        sorted(
            f"{path.parent.parent.name}/{path.parent.name}"
            for path in MODELS.glob("*/*/model.onnx")
        )
        == VERSIONS
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_every_tensor_counts_rows_on_one_free_first_axis(version):
    session = opened(version)

    assert {tensor.shape[0] for tensor in (*session.get_inputs(), *session.get_outputs())} == {"N"}


@pytest.mark.parametrize("version", VERSIONS)
def test_labelled_rows_are_answered_as_rightly_as_stated(version):
    name = version.partition("/")[0]
    session = opened(version)
    rows, truths = samples(session, name)

    said = [labels(name)[index] for index in answers(session, rows)["probabilities"].argmax(axis=1)]

    assert sum(map(str.__eq__, said, truths)) == SAMPLES_RIGHT[version]
    assert len(truths) == 12


@pytest.mark.parametrize("version", VERSIONS)
def test_the_decision_is_the_likeliest_class(version):
    """The second output names the class that has the highest probability.

    It is an index, or the label itself.
    """
    name = version.partition("/")[0]
    told = answers(opened(version), reference(name))
    likeliest = told.pop("probabilities").argmax(axis=1)
    (decision,) = told.values()

    assert decision.tolist() == (
        [labels(name)[index] for index in likeliest]
        if decision.dtype == object
        else likeliest.tolist()
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_probabilities_add_up_to_one_over_the_labels(version):
    name = version.partition("/")[0]
    probabilities = answers(opened(version), reference(name))["probabilities"]

    assert probabilities.shape == (32, len(labels(name)))
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-5
    assert probabilities.min() >= 0


@pytest.mark.parametrize("version", VERSIONS)
def test_reference_rows_fit_the_inputs(version):
    rows = reference(version.partition("/")[0])
    inputs = opened(version).get_inputs()

    assert sorted(rows) == sorted(tensor.name for tensor in inputs)
    for tensor in inputs:
        assert rows[tensor.name].dtype == NUMPY_TYPES[tensor.type]
        assert rows[tensor.name].shape == (32, *tensor.shape[1:])


@pytest.mark.parametrize("intra_op_threads", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_row_is_answered_the_same_alone_and_in_a_batch(version, intra_op_threads):
    session = opened(version, intra_op_threads)
    rows = reference(version.partition("/")[0])
    together = answers(session, rows)
    apart = [
        answers(session, {name: array[index : index + 1] for name, array in rows.items()})
        for index in range(32)
    ]

    for name, batch in together.items():
        joined = np.concatenate([alone[name] for alone in apart])
        if batch.dtype == np.float32:
            assert np.abs(batch - joined).max() <= 1e-5
        else:
            assert batch.tolist() == joined.tolist()


def test_both_versions_of_digits_are_called_alike():
    """Traffic can go from the linear model to the network without a change in any caller."""
    linear, network = (opened(version) for version in ("digits/1", "digits/2"))

    for tensors in ("get_inputs", "get_outputs"):
        one, two = (
            [(tensor.name, tensor.type, tensor.shape) for tensor in getattr(session, tensors)()]
            for session in (linear, network)
        )
        assert one == two


def test_a_penguin_of_an_unknown_species_is_answered_from_its_measures():
    session = opened("penguins/1")
    rows = reference("penguins")
    strange = {
        **rows,
        "species": np.array(["Macaroni"] * 32, object),
        "island": np.array([""] * 32, object),
    }

    assert set(answers(session, strange)["sex"]) == {"female", "male"}
    assert (
        answers(session, strange)["probabilities"].tolist()
        != answers(session, rows)["probabilities"].tolist()
    )


def test_the_csv_of_penguins_says_what_its_json_says():
    rows, truths = samples(opened("penguins/1"), "penguins")
    with (MODELS / "penguins" / "samples.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))

    assert [row.pop("label") for row in table] == truths
    assert list(table[0]) == list(rows)
    for name, array in rows.items():
        assert np.array([row[name] for row in table]).astype(array.dtype).tolist() == array.tolist()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_readme_states_the_accuracy_that_was_measured(version):
    """The share of held-out rows answered rightly stands in the file itself and in the README."""
    stated = re.search(
        rf"^\| `{version}` .*?(\d+\.\d) %",
        (MODELS / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    measured = float(opened(version).get_modelmeta().custom_metadata_map["held_out_accuracy"])

    assert stated is not None
    assert stated[1] == f"{100 * measured:.1f}"
    assert measured >= 0.9


@pytest.mark.parametrize("version", VERSIONS)
def test_files_are_small_enough_to_commit(version):
    assert (MODELS / version / "model.onnx").stat().st_size < 200_000


def run_build(*arguments, hash_seed="0"):
    return subprocess.run(
        [sys.executable, "-B", MODELS / "build.py", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    done = run_build("--into", folder, hash_seed="1")
    assert done.returncode == 0, done.stderr
    return folder


class TestBuild:
    """The results of a rebuild; it needs the packages that the models are trained with."""

    pytestmark = pytest.mark.skipif(
        any(
            importlib.util.find_spec(package) is None
            for package in ("sklearn", "skl2onnx", "palmerpenguins", "threadpoolctl")
        ),
        reason="the dev extra is not installed",
    )

    def test_a_second_build_gives_the_same_bytes_and_check_says_so(self, built):
        """The second build runs in another process, where Python's sets have another order."""
        checked = run_build("--into", built, "--check", hash_seed="2")

        assert checked.returncode == 0, checked.stdout
        assert re.findall(
            r"^(\w+): all \d+ files are identical$", checked.stdout, re.MULTILINE
        ) == ["breast_cancer", "digits", "penguins"]

    def test_a_build_writes_the_files_that_ship_and_no_others(self, built):
        written = {path.relative_to(built) for path in built.rglob("*") if path.is_file()}
        shipped = {
            path.relative_to(MODELS)
            for name in ("breast_cancer", "digits", "penguins")
            for path in (MODELS / name).rglob("*.*")
        }

        assert written == {
            path for path in shipped if path.name not in ("model.yaml", "config.pbtxt")
        }

    def test_the_models_that_ship_answer_as_those_built_here(self, built):
        """Another processor or another scikit-learn may change a weight's last bits.

        The answers hardly change.
        """
        for version in VERSIONS:
            rows = reference(version.partition("/")[0])
            session = onnxruntime.InferenceSession(
                built / version / "model.onnx", providers=["CPUExecutionProvider"]
            )
            differences = (
                answers(opened(version), rows)["probabilities"]
                - answers(session, rows)["probabilities"]
            )
            assert np.abs(differences).max() < 0.02, version

    def test_check_names_a_file_that_differs_and_by_how_much(self, built, tmp_path):
        shutil.copytree(built / "penguins", tmp_path / "penguins")
        (tmp_path / "penguins" / "labels.txt").unlink()
        path = tmp_path / "penguins" / "1" / "model.onnx"
        model = onnx.load(path)
        (bias,) = (weight for weight in model.graph.initializer if weight.name == "bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([0.0, 9.0]), "bias"))
        onnx.save(model, path)

        checked = run_build("--into", tmp_path, "penguins", "--check")

        assert checked.returncode == 1
        assert re.search(
            r"penguins/1/model.onnx: other bytes; its probabilities "
            r"differ by at most \d\.\de-01 on",
            checked.stdout,
        )
        assert "penguins/labels.txt: is missing: build it" in checked.stdout
        assert "penguins: 2 of 5 files differ" in checked.stdout

    def test_an_unknown_model_is_refused_with_the_names_there_are(self):
        refused = run_build("digit")

        assert refused.returncode == 2
        assert "NAME: expected one of breast_cancer, digits, penguins, got digit" in refused.stderr
