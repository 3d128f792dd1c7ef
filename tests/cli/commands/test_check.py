"""`gateway check` and `gateway explain`, as processes, on real models."""

import itertools
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.cli.reports.check_report import batching_text, cost_table, runs_text
from gateway.core.plan import BatchingPlan, SessionPlan, VersionPlan
from tests.support import graphs
from tests.support.graphs import scale


def save(path, shape, node="Relu"):
    """Writes a model of `y = node(x)` over FP32 of this shape."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(node, ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository with one model for each result of a check."""
    root = tmp_path_factory.mktemp("repository")
    save(root / "good" / "1" / "model.onnx", ["N", 4])
    save(root / "good" / "2" / "model.onnx", ["N", 4], "Abs")
    save(root / "fixed" / "1" / "model.onnx", [1, 4])
    save(root / "half" / "1" / "model.onnx", ["N", 4])
    (root / "half" / "2").mkdir()
    (root / "half" / "model.yaml").write_text("versions: all\n")
    save(root / "misspelt" / "1" / "model.onnx", ["N", 4])
    (root / "misspelt" / "model.yaml").write_text("batchin: {}\ninstances: 0\n")
    (root / "corrupt" / "1").mkdir(parents=True)
    (root / "corrupt" / "1" / "model.onnx").write_bytes(b"this is no model")
    save(root / "contradicted" / "1" / "model.onnx", ["N", 4])
    (root / "contradicted" / "model.yaml").write_text("inputs: [{name: x, shape: [5]}]\n")
    save(root / "pythonic" / "1" / "model.onnx", ["N", 4])
    (root / "pythonic" / "config.pbtxt").write_text('backend: "python"\n')
    (root / "empty").mkdir()
    return root


def test_a_good_repository_is_shown_and_the_status_is_0(gateway):
    done = gateway("check", "models")
    assert (done.status, done.faults) == (0, [])
    assert done.out.endswith("3 models with 4 versions would be served, nothing is at fault\n")
    assert "    inputs    image FP32 [-1,8,8]\n" in done.out
    assert "    outputs   probabilities FP32 [-1,10] with 10 labels, digit INT64 [-1]\n" in done.out
    assert "    batching  up to 64 rows, of which" in done.out
    assert "    because   5 rows of different scale" in done.out
    assert "rows  us" not in done.out


def test_every_fault_is_found_at_once_and_the_status_is_1(gateway, repository):
    done = gateway("check", repository)
    assert done.status == 1
    assert [fault.partition(": ")[0] for fault in done.faults] == [
        "contradicted version 1", "corrupt version 1", "empty", "half version 2", "misspelt",
        "misspelt",
    ]  # fmt: skip
    text = "\n".join(done.faults)
    assert "input 'x' is configured with the shape [5]" in text
    assert "corrupt version 1: model.onnx is not an ONNX model" in text
    assert "misspelt: model.yaml: unknown key 'batchin'; did you mean 'batching'?" in text
    assert "half version 2: version 2 has no model.onnx" in text
    assert done.out.endswith(
        "3 models with 3 versions would be served, 1 model skipped, 6 faults\n"
    )
    for fault in done.faults:
        assert fault.partition(": ")[2] in done.out


def test_what_is_not_served_for_its_kind_is_no_fault(gateway, repository, tmp_path):
    shutil.copytree(repository / "pythonic", tmp_path / "pythonic")
    done = gateway("check", tmp_path)
    assert (done.status, done.faults) == (0, [])
    assert (
        "pythonic\n  skipped: config.pbtxt: backend 'python' is not served, only onnxruntime is\n"
        in done.out
    )


def test_versions_that_nobody_asked_for_are_named(gateway, repository):
    out = gateway("check", repository).out
    assert (
        "good\n  version 1 is not asked for by the version policy, latest 1\n  version 2\n" in out
    )


def test_a_model_that_is_not_batched_says_why(gateway, repository):
    block = gateway("check", repository).out.partition("fixed\n")[2].partition("\n\n")[0]
    assert "batching  none: each request runs alone" in block
    assert "because   not batched: " in block


def test_measure_shows_what_runs_cost_and_what_follows(gateway):
    done = gateway("check", "models/digits", "--measure")
    table = done.out.partition("rows  us")[2].splitlines()[1:8]
    assert [int(line.split()[0]) for line in table] == [1, 2, 4, 8, 16, 32, 64]
    assert all("event loop" in line or "thread" in line for line in table)
    assert sum("<- useful batch" in line for line in table) == 1


def test_json_says_the_same_for_programs(gateway, repository):
    done = gateway("check", repository, "--json")
    report = json.loads(done.out)
    assert done.status == 1
    assert report["faults"] == done.faults
    models = {model["name"]: model for model in report["models"]}
    assert models["pythonic"]["skipped"]
    assert len(models["misspelt"]["faults"]) == 2
    (good,) = models["good"]["versions"]
    assert (good["version"], good["batchable"], good["batching"]["max_batch_size"]) == (2, True, 64)
    assert good["inputs"][0] == {
        "name": "x",
        "datatype": "FP32",
        "shape": [-1, 4],
        "optional": False,
        "model_shape": None,
        "labels": [],
        "columns": [],
    }
    assert set(good["cost_us"]) == {"1", "2", "4", "8", "16", "32", "64"}


def test_one_model_by_itself_is_named_as_asked(gateway):
    assert gateway("check", "models/digits").out.startswith("digits\n")
    assert gateway("check", "models/digits", "--name", "numbers").out.startswith("numbers\n")


def test_a_folder_without_models_is_a_fault_and_one_that_is_not_there_too(gateway, tmp_path):
    done = gateway("check", tmp_path)
    assert done.status == 1
    assert done.faults[0].startswith(
        f"there is no model in {tmp_path}: expected NAME/VERSION/model.onnx"
    )
    done = gateway("check", tmp_path / "no")
    assert (done.status, done.out) == (2, "")
    assert done.faults == [f"{tmp_path}/no does not exist"]


def test_a_model_file_by_itself_is_looked_at(gateway, tmp_path):
    graphs.scale(tmp_path, "m").rename(tmp_path / "wine.onnx")
    done = gateway("check", tmp_path / "wine.onnx")
    assert (done.status, done.out.splitlines()[0]) == (0, "wine")


def test_progress_is_told_where_it_takes_long(gateway, tmp_path):
    """A chain of matrix products, 50 GFLOP for a full batch, keeps inspection busy for seconds."""
    width = 1024
    depth = 400
    weights = numpy_helper.from_array(
        (np.random.default_rng(0).standard_normal((width, width)) / width**0.5).astype("f4"), "w"
    )
    names = ["x", *(f"h{i}" for i in range(depth - 1)), "y"]
    nodes = [
        helper.make_node("MatMul", [before, "w"], [after])
        for before, after in itertools.pairwise(names)
    ]
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name in ("x", "y")
    ]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], [weights])
    (tmp_path / "slow" / "1").mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "slow" / "1" / "model.onnx",
    )
    done = gateway("check", tmp_path / "slow", "--cache-dir", tmp_path / "cache")
    assert (done.status, done.faults) == (0, [])
    assert done.progress
    assert set(done.progress) == {"inspected 0 of 1 versions"}


def test_what_check_has_found_need_not_be_found_again(gateway, repository, tmp_path):
    """The findings are in the cache that the command is given.

    The second run reads what the first measured.
    """
    first, second = (
        json.loads(gateway("check", repository / "good", "--json", "--cache-dir", tmp_path).out)
        for _ in range(2)
    )
    assert list(tmp_path.glob("*.json"))
    assert first == second


def test_explain_shows_the_tree_of_each_version_that_would_be_live(gateway, repository):
    done = gateway("explain", "models", "digits")
    assert (done.status, done.faults) == (0, [])
    first = done.out.split("\n\n")[0].splitlines()
    assert first[0] == "digits version 1"
    assert [line.split()[0] for line in first] == [
        "digits",
        "InFlight",
        "Breaker",
        "Split",
        "Batcher",
        "Session",
    ]
    assert [len(line) - len(line.lstrip()) for line in first] == [0, 2, 4, 6, 8, 10]
    assert gateway("explain", "models").out.count("Session  ") == 4


def test_explain_gives_the_tree_as_json(gateway):
    (version,) = json.loads(gateway("explain", "models", "penguins", "--json").out)["versions"]
    assert (version["model"], version["version"]) == ("penguins", 1)
    names = []
    nodes = [version["tree"]]
    while nodes:
        names.append(nodes[0]["name"])
        nodes = nodes[0]["inner"]
    assert (names[0], names[-1]) == ("InFlight", "Session")
    assert "Batcher" in names


def test_explain_tells_faults_of_what_it_was_asked_about(gateway, repository):
    assert gateway("explain", repository, "good").status == 0
    done = gateway("explain", repository, "half", "pythonic")
    assert done.status == 1
    assert done.faults == ["half version 2: version 2 has no model.onnx (its folder holds nothing)"]
    assert "half version 1\n" in done.out
    assert "pythonic is skipped: " in done.out
    done = gateway("explain", repository, "god")
    assert (done.status, done.out) == (2, "")
    assert done.faults == [f"there is no model 'god' in {repository}; did you mean good?"]


def test_a_version_with_another_interface_than_the_one_before_is_a_warning(gateway, tmp_path):
    scale(tmp_path / "r", "wine", 1)
    scale(tmp_path / "r", "wine", 2, width=5)
    done = gateway("check", tmp_path / "r")
    assert done.status == 0
    assert (
        "warning:  its interface is not that of version 1: input 'x' was FP32 [-1,4] and is FP32 "
        "[-1,5]; output 'y' was FP32 [-1,4] and is FP32 [-1,5]; a gateway that serves version 1 "
        "refuses the swap, `allow_interface_change: true` in model.yaml lets it pass"
    ) in done.out
    strict = gateway("check", tmp_path / "r", "--strict")
    assert strict.status == 1
    assert strict.faults[0].startswith("wine version 2: its interface is not that of version 1")
    (tmp_path / "r" / "wine" / "model.yaml").write_text("allow_interface_change: true")
    assert gateway("check", tmp_path / "r", "--strict").faults == []


def test_a_fallback_on_a_model_that_is_not_there_is_a_fault_where_warnings_are(gateway, tmp_path):
    scale(tmp_path / "r", "wine", 1)
    (tmp_path / "r" / "wine" / "model.yaml").write_text("fallback: [{model: whine}]")
    assert gateway("check", tmp_path / "r").status == 0
    done = gateway("check", tmp_path / "r", "--strict", "--json")
    assert (done.status, json.loads(done.out)["faults"]) == (1, [])
    assert done.faults == ["wine version 1: fallback[0].model whine is not there"]


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (BatchingPlan(), "none: each request runs alone"),
        (
            BatchingPlan(8, dynamic=False, useful_batch_size=1),
            "none: each request runs alone, of up to 8 rows",
        ),
        (
            BatchingPlan(8, useful_batch_size=1),
            "up to 8 rows, of which 1 is worth putting together",
        ),
        (
            BatchingPlan(8, splits=True, useful_batch_size=8),
            "up to 8 rows, of which 8 are worth putting together; larger requests are run in parts",
        ),
        (
            BatchingPlan(
                8,
                useful_batch_size=4,
                max_queue_delay_s=500e-6,
                preferred_batch_sizes=(2, 4),
                pad_to=(4, 8),
            ),
            (
                "up to 8 rows, of which 4 are worth putting together; a batch waits 500us for "
                "company; but not at 2, 4 rows; filled up to 4, 8 rows"
            ),
        ),
    ],
)
def test_batching_is_said_in_a_line(plan, text):
    assert batching_text(plan) == text


@pytest.mark.parametrize(
    ("limit", "on_loop", "text"),
    [
        (0, 0, "in threads"),
        (0, 1, "on the event loop"),
        (8, 8, "on the event loop"),
        (8, 2, "on the event loop up to 2 rows, in threads beyond"),
    ],
)
def test_where_a_version_runs_is_said_in_a_line(limit, on_loop, text):
    batching = BatchingPlan(limit, loop_batch_size=on_loop)
    session = SessionPlan(intra_op_threads=2)
    plan = VersionPlan("m", 1, "/m", "", (), (), batching=batching, session=session, instances=3)
    assert (
        runs_text(plan)
        == f"{text}; at most 3 at a time in one process, 2 threads each, by CPUExecutionProvider"
    )


def test_a_cost_curve_marks_the_useful_batch_and_where_the_loop_ends():
    lines = cost_table(
        {1: 20.0, 2: 30.0, 4: 60.0}, BatchingPlan(4, useful_batch_size=2, loop_batch_size=2)
    ).splitlines()
    assert lines == [
        "rows  us    us per row  runs in",
        "1     20.0  20.00       event loop",
        "2     30.0  15.00       event loop  <- useful batch",
        "4     60.0  15.00       thread",
    ]
    assert "no trial run succeeded" in cost_table({}, BatchingPlan())
