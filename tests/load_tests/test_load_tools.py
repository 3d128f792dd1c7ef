"""The load tests' programs against a real server, and that they notice what they exist to notice."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gateway.protocol.generated import inference_pb2
from load_tests.closed_loop import run_closed_loop
from load_tests.ghz_run import SCENARIOS, run_ghz
from load_tests.h2load import INSTALL, SHAPES, Shape, run_h2load, write_framed
from load_tests.payloads import fault_of_framed, fault_of_message, faults_of, make_payload
from load_tests.servers import ask, check
from load_tests.start_time import make_request
from load_tests.tools import GHZ, ghz_is_installed

ROOT = Path(__file__).resolve().parents[2]


def missing(program, install):
    """Skips on a developer's machine; in CI a program that is not there is a failure."""
    text = f"{program} is not installed: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


class TestReplies:
    @pytest.fixture
    def reply(self, payload):
        response = inference_pb2.ModelInferResponse(model_name="small", raw_output_contents=[payload.expected.tobytes()])
        response.outputs.add(name="probs", datatype="FP32", shape=[1, 10])
        return response

    def test_a_right_reply_has_no_fault(self, reply, payload):
        message = reply.SerializeToString()
        assert fault_of_message(message, payload) == ""
        assert fault_of_framed(b"\0" + len(message).to_bytes(4, "big") + message, payload) == ""

    def test_rounding_is_no_fault_and_another_value_is(self, reply, payload):
        reply.raw_output_contents[0] = (payload.expected * np.float32(1 + 1e-6)).tobytes()
        assert fault_of_message(reply.SerializeToString(), payload) == ""
        reply.raw_output_contents[0] = (payload.expected + np.float32(1e-3)).tobytes()
        assert "expected [" in fault_of_message(reply.SerializeToString(), payload)

    def test_size_shape_model_and_framing_are_looked_at(self, reply, payload):
        wrong = {"shape": inference_pb2.ModelInferResponse(), "bytes": inference_pb2.ModelInferResponse(), "from 'other'": reply.__class__()}
        for change in wrong.values():
            change.CopyFrom(reply)
        wrong["shape"].outputs[0].shape[:] = [10, 1]
        wrong["bytes"].raw_output_contents[0] = b"1234"
        wrong["from 'other'"].model_name = "other"
        for word, change in wrong.items():
            assert word in fault_of_message(change.SerializeToString(), payload)
        message = reply.SerializeToString()
        for broken in (b"", message, b"\1" + len(message).to_bytes(4, "big") + message, b"\0\0\0\0\1" + message):
            assert "not one uncompressed gRPC message" in fault_of_framed(broken, payload)
        assert len(faults_of([(b"", payload)] * 3)) == 3

    def test_two_rows_of_one_model_have_different_answers(self, models):
        """Otherwise an answer given to the wrong caller would not show."""
        a, b = (make_payload(models, "small", seed=seed) for seed in (0, 1))
        assert not np.allclose(a.expected, b.expected, rtol=1e-2)
        assert not np.allclose(make_payload(models, "small_000").expected, make_payload(models, "small_001").expected, rtol=1e-2)


class TestAgainstTheYardstick:
    def test_closed_loop_over_several_models_finds_every_reply_right(self, yardstick, models):
        payloads = [make_payload(models, name) for name in ("small", "small_000", "small_001", "mid")]
        result = asyncio.run(run_closed_loop(yardstick.address, payloads, connections=2, streams=8, calls=400))
        assert result.fault == ""
        assert result.calls_per_s > 0
        assert result.p50_ms <= result.p99_ms

    def test_closed_loop_names_the_status_of_failed_calls(self, yardstick, payload):
        message = inference_pb2.ModelInferRequest.FromString(payload.message)
        message.model_name = "nobody"
        stranger = replace(payload, message=message.SerializeToString())
        result = asyncio.run(run_closed_loop(yardstick.address, [payload, stranger], connections=1, streams=4, calls=20))
        assert "{'OK': 10, 'UNKNOWN': 10}" in result.fault

    def test_closed_loop_finds_wrong_values(self, yardstick, payload):
        result = asyncio.run(
            run_closed_loop(yardstick.address, [replace(payload, expected=payload.expected * 2)], connections=1, streams=4, calls=20)
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
        result = run_h2load(yardstick.address, write_framed(tmp_path, payload), Shape("small", 2, 4, 200), size)
        assert result.fault == ""
        assert 0 < result.p50_ms <= result.p99_ms
        wrong = run_h2load(yardstick.address, write_framed(tmp_path, payload), Shape("small", 2, 4, 200), size + 1)
        assert "were expected" in wrong.fault

    def test_ghz_run(self, yardstick, payload, tmp_path):
        if not ghz_is_installed(GHZ):
            missing("ghz", "make tools")
        found = run_ghz(SCENARIOS["small"], yardstick.address, payload, tmp_path / "small.json", duration="500ms")
        assert found.failed == 0
        assert found.calls > 50
        typed = run_ghz(SCENARIOS["json_ids"], yardstick.address, payload, tmp_path / "ids.json", duration="500ms")
        assert typed.failed == typed.calls > 0  # the yardstick reads raw tensors only, and ghz must say so

    def test_every_ghz_scenario_names_a_benchmark_model(self):
        models_of = {name: json.loads(path.read_text())["tags"]["model"] for name, path in SCENARIOS.items()}
        assert set(models_of.values()) <= {"small", "mid", "large"}
        assert set(SHAPES) <= set(SCENARIOS)


class TestRequestsForAnyModel:
    def metadata(self, name, *inputs):
        response = inference_pb2.ModelMetadataResponse(name=name)
        for tensor, datatype, shape in inputs:
            response.inputs.add(name=tensor, datatype=datatype, shape=shape)
        return response

    def test_free_axes_are_one_and_values_zero(self, tmp_path):
        request = make_request(self.metadata("m", ("x", "FP32", [-1, 3]), ("s", "BYTES", [-1, 2]), ("k", "INT64", [])), tmp_path)
        assert [list(tensor.shape) for tensor in request.inputs] == [[1, 3], [1, 2], []]
        assert list(request.raw_input_contents) == [bytes(12), bytes(8), bytes(8)]

    def test_a_reference_sample_gives_the_first_row(self, tmp_path):
        (tmp_path / "m").mkdir()
        np.savez(tmp_path / "m" / "reference.npz", x=np.arange(6, dtype=np.float32).reshape(2, 3), s=np.array([["ab", "c"]]))
        request = make_request(self.metadata("m", ("x", "FP32", [-1, 3]), ("s", "BYTES", [-1, 2])), tmp_path)
        assert np.frombuffer(request.raw_input_contents[0], np.float32).tolist() == [0, 1, 2]
        assert request.raw_input_contents[1] == b"\2\0\0\0ab\1\0\0\0c"


def test_the_programs_explain_themselves():
    """Each command of README.md starts."""
    for name in ("compare", "closed_loop", "open_loop", "h2load", "ghz_run", "yardstick_aio", "benchmark_models"):
        done = subprocess.run([sys.executable, "-m", f"load_tests.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"-m load_tests.{name}" in done.stdout
