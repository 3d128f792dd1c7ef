"""tritonclient, unchanged, blocking and aio, against a gateway.

The tests make every call that it has, with every datatype of the protocol.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support import graphs
from tests.support.checkout import ROOT
from tests.support.running import RunningGateway

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed"
)

ELEMENTS = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16, "INT32": TensorProto.INT32, "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip
LIMITED = """
backend: "onnxruntime"
max_batch_size: 4
dynamic_batching { priority_levels: 3 default_priority_level: 2 default_queue_policy { \
max_queue_size: 500 allow_timeout_override: true } }
"""


def build(repository: Path) -> None:
    """Writes the models that `tritonclient_program.py` calls."""
    for model in ("digits", "breast_cancer", "penguins"):
        shutil.copytree(ROOT / "models" / model, repository / model)
    for datatype, element in ELEMENTS.items():
        graphs.identity(repository, f"same_{datatype}", element, ["rows", "columns"])
    for version, factor in ((1, 2.0), (2, 3.0)):
        graphs.scale(repository, "twofold", version, factor)
    (repository / "twofold" / "model.yaml").write_text("versions: all\n")
    graphs.scale(repository, "limited")
    (repository / "limited" / "config.pbtxt").write_text(LIMITED)
    graphs.scale(repository, "passing")
    graphs.patient(repository, "patient")
    scalar = [helper.make_node("Neg", ["x"], ["y"])]
    graphs.save(
        repository / "scalar/1/model.onnx",
        scalar,
        [("x", TensorProto.FLOAT, [])],
        [("y", TensorProto.FLOAT, [])],
    )
    hits = [helper.make_node("NonZero", ["x"], ["y"])]
    graphs.save(
        repository / "hits/1/model.onnx",
        hits,
        [("x", TensorProto.FLOAT, ["n"])],
        [("y", TensorProto.INT64, [1, "hits"])],
    )
    look_up = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = numpy_helper.from_array(np.array([4, 5, 6], "f4"), "table")
    declared = [("x", TensorProto.INT64, ["N", 1])], [("y", TensorProto.FLOAT, ["N", 1])]
    graphs.save(repository / "fragile/1/model.onnx", look_up, *declared, [table])


@pytest.fixture(scope="module", params=["completion-queue", "aio"])
def served(request, tmp_path_factory, cache) -> Iterator[RunningGateway]:
    """A gateway of two processes on each transport."""
    folder = tmp_path_factory.mktemp("tritonclient")
    build(folder / "models")
    options = ("--processes", "2", "--drain-delay", "0s", "--transport", request.param)
    with RunningGateway(
        folder / "models", folder / "gateway.log", *options, cache=cache
    ) as gateway:
        yield gateway


@pytest.mark.parametrize("client", ["grpc", "grpc.aio"])
def test_a_user_of_tritonclient_sees_what_tritons_users_see(served, client):
    """The facts are the tests of `tritonclient_program.py`."""
    models = served.log.parent / "models"
    environment = {
        **os.environ,
        "GATEWAY_CLIENT": client,
        "GATEWAY_ADDRESS": served.address,
        "GATEWAY_MODELS": str(models),
    }
    program = ROOT / "tests" / "support" / "tritonclient_program.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(program),
    ]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    print(done.stdout[-20000:], done.stderr[-2000:], served.text()[-5000:])
    assert done.returncode == 0
    assert not re.search(r"This is a bug|never retrieved|Traceback", served.text()), (
        "the gateway's log tells of no fault of its own"
    )
