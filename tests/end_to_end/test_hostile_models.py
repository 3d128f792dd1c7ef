"""Model files that are broken, strange or deadly, in one repository with good ones."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, index, multiply, over
from tests.support.checkout import ROOT

SECRET = b"\x2a\0\0\0" * 4


def deadly(repository: Path, name: str, *, opening: bool) -> None:
    """Writes a model that divides INT64_MIN by -1, which x86 answers with SIGFPE.

    The operands are constants, folded while the file is opened, or depend on the input.
    """
    values = (("least", -(2**63)), ("minus", -1), ("zero", 0))
    constants = [numpy_helper.from_array(np.array([value], "i8"), key) for key, value in values]
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["nought"]),
        helper.make_node("Add", ["nought", "least"], ["lowest"]),
        helper.make_node("Div", ["least" if opening else "lowest", "minus"], ["d"]),
        helper.make_node("Add", ["nought", "d"], ["y"]),
    ]
    graphs.save(
        repository / name / "1" / "model.onnx",
        nodes,
        [("x", TensorProto.INT64, ["N"])],
        [("y", TensorProto.INT64, ["N"])],
        constants,
    )


def with_external_data(repository: Path, name: str, location: str) -> None:
    """Writes `y = x + w`, with the four values of w in another file."""
    weights = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL
    )
    weights.external_data.add(key="location", value=location)
    infos = [("x", TensorProto.FLOAT, ["N", 4])], [("y", TensorProto.FLOAT, ["N", 4])]
    path = repository / name / "1" / "model.onnx"
    graphs.save(
        path,
        [helper.make_node("Add", ["x", "w"], ["y"])],
        *infos,
        [numpy_helper.from_array(np.zeros(4, "f4"), "w")],
    )
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(weights)
    path.write_bytes(model.SerializeToString())


def without_tensors(repository: Path, name: str) -> None:
    """Writes a model whose output is a sequence."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [output],
    )
    path = repository / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


@pytest.fixture
def hostile(models):
    """Writes bad models beside two good ones, and returns the reason that is expected for each."""
    graphs.scale(models, "good", factor=2.0)
    graphs.scale(models, "zoo", factor=3.0)
    (models.parent / "secret").write_bytes(SECRET)
    deaths = {}
    if platform.machine() in ("x86_64", "AMD64"):
        deadly(models, "deadly_to_open", opening=True)
        deadly(models, "deadly_to_run", opening=False)
        deaths = {
            "deadly_to_open": "died with SIGFPE while opening it",
            "deadly_to_run": "died with SIGFPE while running it",
        }
    graphs.scale(models, "corrupt").write_bytes(b"\x08\x09" + bytes(range(256)) * 50)
    whole = graphs.scale(models, "cut_short")
    whole.write_bytes(whole.read_bytes()[:-40])
    graphs.scale(models, "empty").write_bytes(b"")
    with_external_data(models, "data_missing", "weights.bin")
    with_external_data(models, "data_outside", "../../../secret")
    with_external_data(models, "data_absolute", str(models.parent / "secret"))
    with_external_data(models, "data_by_link", "link")
    (models / "data_by_link" / "1" / "link").symlink_to(models.parent / "secret")
    without_tensors(models, "sequence_out")
    graphs.save(
        models / "opset_of_tomorrow" / "1" / "model.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["N"])],
        [("y", TensorProto.FLOAT, ["N"])],
        opset=99,
    )
    return {
        **deaths,
        "corrupt": "",
        "cut_short": "",
        "empty": "",
        "data_missing": "weights.bin",
        "data_outside": "../../../secret",
        "data_absolute": "secret",
        "data_by_link": "link",
        "sequence_out": "output 'y' is seq(tensor(float)), and only tensors are served",
        "opset_of_tomorrow": "opset",
    }


def test_bad_models_are_told_with_their_reasons_and_keep_nobody_from_being_served(
    gateway, hostile, connect
):
    """No serving process opens a file that ended the inspecting process, or was refused by it."""
    with gateway("--processes", "2") as running:
        pids = running.serving_pids()
        channel = connect(running)
        stub = GRPCInferenceServiceStub(channel)
        entries = index(channel)
        with Callers(over([channel]), "good", 2) as good, Callers(over([channel]), "zoo", 2) as zoo:
            good.go_on()
            zoo.go_on()
        loads = {}
        for name in hostile:
            with pytest.raises(Exception) as refused:  # its text is looked at below
                stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=name), timeout=30)
            loads[name] = refused.value.details()
            with pytest.raises(Exception) as refused:
                stub.ModelInfer(multiply(name, 1.0), timeout=10)
            assert refused.value.code().name == "UNAVAILABLE"
            assert entries[f"{name}/1"][1] in refused.value.details()

        assert good.failures == zoo.failures == []
        assert running.serving_pids() == pids
        assert "another takes its place" not in running.text()

    assert entries.pop("good/1") == entries.pop("zoo/1") == ("READY", "")
    assert {
        name.removesuffix("/1"): state for name, (state, _) in entries.items()
    } == dict.fromkeys(hostile, "UNAVAILABLE")
    for name, part in hostile.items():
        reason = entries[f"{name}/1"][1]
        assert reason
        assert part in reason
        assert reason in running.text()
        assert f"failed to load '{name}'" in loads[name]
        assert reason in loads[name]


def test_check_names_every_fault_and_exits_with_one(hostile, models, tmp_path):
    command = [
        sys.executable,
        "-m",
        "gateway",
        "check",
        str(models),
        "--cache-dir",
        str(tmp_path / "findings"),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=100
    )

    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert all(name in said for name in (*hostile, "good", "zoo"))
    assert all(part in said for part in hostile.values())
