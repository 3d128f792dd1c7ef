"""The load tests' programs against a real server."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from gateway.protocol.generated import inference_pb2
from load_tests.closed_loop import run_closed_loop
from load_tests.ghz_run import SCENARIOS, run_ghz
from load_tests.h2load import INSTALL, SHAPES, Shape, run_h2load, write_framed
from load_tests.payloads import make_payload
from load_tests.servers import ask, check
from load_tests.tools import ghz_is_installed
from tests.support.checkout import ROOT


def missing(program, install):
    """Skips the test on a developer's machine; in CI a missing program is a failure."""
    text = f"{program} is not installed: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


class TestAgainstTheYardstick:
    def test_closed_loop_over_several_models_finds_every_reply_right(self, yardstick, models):
        payloads = [
            make_payload(models, name) for name in ("small", "small_000", "small_001", "mid")
        ]
        result = asyncio.run(
            run_closed_loop(yardstick.address, payloads, connections=2, streams=8, calls=400)
        )
        assert result.fault == ""
        assert result.calls_per_s > 0
        assert result.p50_ms <= result.p99_ms

    def test_closed_loop_names_the_status_of_failed_calls(self, yardstick, payload):
        message = inference_pb2.ModelInferRequest.FromString(payload.message)
        message.model_name = "nobody"
        stranger = replace(payload, message=message.SerializeToString())
        result = asyncio.run(
            run_closed_loop(
                yardstick.address, [payload, stranger], connections=1, streams=4, calls=20
            )
        )
        assert "{'OK': 10, 'UNKNOWN': 10}" in result.fault

    def test_closed_loop_finds_wrong_values(self, yardstick, payload):
        result = asyncio.run(
            run_closed_loop(
                yardstick.address,
                [replace(payload, expected=payload.expected * 2)],
                connections=1,
                streams=4,
                calls=20,
            )
        )
        assert result.fault.startswith("20 faults")

    def test_check_ends_the_program_on_a_wrong_value(self, yardstick, payload):
        assert check(yardstick.address, payload) == len(ask(yardstick.address, payload)) + 5
        with pytest.raises(SystemExit, match="wrong answer"):
            check(yardstick.address, replace(payload, expected=payload.expected * 2))

    def test_memory_is_that_of_a_python_with_onnxruntime(self, yardstick):
        assert 20 < yardstick.memory_mib() < 500

    def test_h2load_run(self, yardstick, payload, tmp_path):
        if shutil.which("h2load") is None:
            missing("h2load", INSTALL)
        size = check(yardstick.address, payload)
        result = run_h2load(
            yardstick.address, write_framed(tmp_path, payload), Shape("small", 2, 4, 200), size
        )
        assert result.fault == ""
        assert 0 < result.p50_ms <= result.p99_ms
        wrong = run_h2load(
            yardstick.address, write_framed(tmp_path, payload), Shape("small", 2, 4, 200), size + 1
        )
        assert "were expected" in wrong.fault

    def test_ghz_run(self, yardstick, payload, tmp_path):
        if not ghz_is_installed():
            missing("ghz", "make tools")
        found = run_ghz(
            SCENARIOS["small"],
            yardstick.address,
            payload,
            tmp_path / "small.json",
            duration="500ms",
        )
        assert found.failed == 0
        assert found.calls > 50
        typed = run_ghz(
            SCENARIOS["json_ids"],
            yardstick.address,
            payload,
            tmp_path / "ids.json",
            duration="500ms",
        )
        # the yardstick reads raw tensors only, and ghz must say so
        assert typed.failed == typed.calls > 0

    def test_every_ghz_scenario_names_a_benchmark_model(self):
        models_of = {
            name: json.loads(path.read_text())["tags"]["model"] for name, path in SCENARIOS.items()
        }
        assert set(models_of.values()) <= {"small", "mid", "large"}
        assert set(SHAPES) <= set(SCENARIOS)


def test_the_programs_explain_themselves():
    """Each command of README.md starts."""
    for name in (
        "compare",
        "closed_loop",
        "open_loop",
        "h2load",
        "ghz_run",
        "yardstick_aio",
        "benchmark_models",
    ):
        done = subprocess.run(
            [sys.executable, "-m", f"load_tests.{name}", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"-m load_tests.{name}" in done.stdout
