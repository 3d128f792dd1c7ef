"""From an exported file to a labelled answer in two commands, as converters and people write it."""

import json

import numpy as np
import pytest

from tests.support import graphs
from tests.support.serving_command import serve

skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx, of the dev extra")

NAMES = ["barolo", "grignolino", "barbera"]


@pytest.fixture(scope="module")
def wine():
    """A pipeline over wines, its rows, and its columns by name."""
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_wine()
    rows = data.data.astype("f4")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    pipeline.fit(rows, np.array(NAMES)[data.target])
    return pipeline, rows[::30], list(data.feature_names)


@pytest.fixture(scope="module")
def exported(wine, tmp_path_factory, cache):
    """A gateway that serves the export, made with the converter's defaults, by its file."""
    folder = tmp_path_factory.mktemp("exports")
    pipeline, rows, columns = wine
    content = skl2onnx.to_onnx(pipeline, rows[:1]).SerializeToString()
    (folder / "wine.onnx").write_bytes(content)
    (folder / "columns.txt").write_text("\n".join(columns))
    running = serve(folder, cache, str(folder / "wine.onnx"))
    yield running
    assert running.stop() == 0


def csv(columns, rows):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows.tolist())]
    return "\n".join(lines).encode()


def asked(gateway, exported, rows, *options):
    return gateway(
        "infer", "wine", "--address", exported.address, "--input", "-", *options, stdin=rows
    )


def test_a_classifier_is_answered_as_its_library_predicts_with_its_classes(gateway, exported, wine):
    pipeline, rows, columns = wine
    done = asked(gateway, exported, csv(columns, rows), "--output-format", "json")
    assert (done.status, done.err) == (0, "")
    label, probabilities = json.loads(done.out)["outputs"]
    assert label["data"] == pipeline.predict(rows).tolist()
    assert probabilities["parameters"]["labels"] == pipeline.classes_.tolist()
    np.testing.assert_allclose(
        probabilities["data"], pipeline.predict_proba(rows), rtol=1e-4, atol=1e-6
    )


def test_people_see_the_classes_beside_their_numbers(gateway, exported, wine):
    pipeline, rows, columns = wine
    done = asked(gateway, exported, csv(columns, rows[:1]))
    heading, _, _, line = done.out.splitlines()
    assert heading.startswith("wine version 1 answered in ")
    assert line.split()[1] == pipeline.predict(rows[:1])[0]
    assert all(f"{name} " in line for name in NAMES)


def test_columns_in_another_order_are_answered_alike_and_one_that_lacks_is_refused(
    gateway, exported, wine
):
    _, rows, columns = wine
    order = np.random.default_rng(0).permutation(len(columns))
    shuffled = csv([columns[i] for i in order], rows[:, order])
    as_it_stands = asked(gateway, exported, csv(columns, rows), "--output-format", "json")
    done = asked(gateway, exported, shuffled, "--output-format", "json")
    assert (done.status, done.out) == (0, as_it_stands.out)
    done = asked(gateway, exported, csv(columns[1:], rows[:, 1:]))
    assert (done.status, done.out) == (2, "")
    assert f"lacks the model's column {columns[0]}" in done.faults[0]


def test_without_rows_it_says_what_the_model_takes(gateway, exported):
    done = gateway("infer", "wine", "--address", exported.address)
    assert (done.status, done.faults) == (
        2,
        ["'wine' takes X FP32 [-1,13]: give rows with --input FILE, or have zeros sent, --zeros"],
    )


def test_rows_and_zeros_exclude_each_other(gateway):
    done = gateway("infer", "wine", "--zeros", "--input", "rows.csv")
    assert (done.status, done.faults) == (2, ["--zeros and --input: expected one of them"])


@pytest.fixture(scope="module")
def degraded(tmp_path_factory, cache):
    """A gateway whose model answers NaN, which version 1 answers for."""
    folder = tmp_path_factory.mktemp("degraded")
    graphs.scale(folder / "models", "m", 1)
    graphs.scale(folder / "models", "m", 2, factor=float("nan"))
    (folder / "models/m/model.yaml").write_text(
        "versions: all\noutput_guard: {finite: true}\nfallback: [{version: 1, on: [failed]}]\n"
    )
    running = serve(folder, cache, str(folder / "models"))
    yield running
    assert running.stop() == 0


def test_a_degraded_answer_says_who_answered_for_whom_and_why(gateway, degraded):
    ask = ["infer", "m", "--version", "2", "--zeros", "--address", degraded.address]
    done = gateway(*ask)
    assert done.status == 0
    assert done.out.startswith("m version 1 answered for version 2 (degraded: failed: ")
    document = json.loads(gateway(*ask, "--output-format", "json").out)
    assert document["parameters"]["degraded"] is True
    assert document["parameters"]["served_by"] == "version 1"
    done = gateway(*ask, "--fail-if-degraded")
    assert done.status == 7
    assert gateway(*ask[:2], "--version", "1", *ask[4:], "--fail-if-degraded").status == 0
