"""A third party's client, tritonclient, sees what it expects."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.support.checkout import ROOT
from tests.support.service_parts import two_versions

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed"
)


@pytest.fixture
def by_tritonclient(served):
    """Runs a function of `triton_caller.py` and returns what it printed."""

    def call(function):
        served.start_up(*two_versions())
        command = [sys.executable, "-m", "tests.support.triton_caller", served.address, function]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_it_reads_what_the_server_and_a_model_are(served, by_tritonclient):
    seen = by_tritonclient("describe")
    assert (seen["live"], seen["ready"]) == (True, True)
    assert seen["models"] == {"m": True, "m/1": True, "m/3": False, "nobody": False}
    assert (seen["server"]["name"], seen["server"]["version"]) == ("onnx-gateway", "1.2.3")
    assert seen["metadata"]["versions"] == ["1", "2"]
    assert seen["metadata"]["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}
    assert seen["config"]["config"]["max_batch_size"] == 8
    assert seen["config"]["config"]["dynamic_batching"] == {}
    assert [(each["name"], each["version"], each["state"]) for each in seen["index"]["models"]] == [
        ("m", "1", "READY"), ("m", "2", "READY"), ("single", "7", "READY")
    ]  # fmt: skip
    assert seen["unknown"] == [
        "StatusCode.NOT_FOUND",
        "Request for unknown model: 'nobody' is not found",
    ]


def test_it_reads_statistics(served, by_tritonclient):
    writer = served.table.writer(1, 1)
    writer.record_batch(
        2,
        4,
        queue_ns=5,
        compute_input_ns=6,
        compute_infer_ns=7,
        compute_output_ns=8,
        now_ms=10,
    )
    seen = by_tritonclient("statistics")
    assert [(each["name"], each["version"]) for each in seen["all"]["model_stats"]] == [
        ("m", "1"),
        ("m", "2"),
        ("single", "7"),
    ]
    (one,) = seen["one"]["model_stats"]
    assert (one["inference_count"], one["execution_count"], one["last_inference"]) == (
        "4",
        "1",
        "10",
    )
    assert one["inference_stats"]["compute_infer"] == {"count": "2", "ns": "14"}
    assert one["batch_stats"][0]["batch_size"] == "4"
    assert seen["gone"] == [
        "StatusCode.INVALID_ARGUMENT",
        "requested model version is not available for model 'm'",
    ]


def test_it_loads_and_unloads(served, by_tritonclient):
    status, text = by_tritonclient("change")["upload"]
    assert served.control.asked == [
        ("load", "m", {}), ("load", "m", {"config": '{"max_batch_size": 4}'}),
        ("unload", "m", {"unload_dependents": False}), ("unload", "m", {"unload_dependents": True}),
    ]  # fmt: skip
    assert status == "StatusCode.UNIMPLEMENTED"
    assert text.startswith("load parameter 'file:1/model.onnx' is refused")


def test_it_reads_and_changes_trace_settings(served, by_tritonclient):
    served.control.answer = {"trace_rate": 5, "trace_level": ("OFF",)}
    seen = by_tritonclient("configure")
    assert seen["trace"]["settings"]["trace_rate"] == {"value": ["1000"]}
    assert seen["log"]["settings"]["log_format"] == {"string_param": "default"}
    assert seen["changed trace"]["settings"] == {
        "trace_rate": {"value": ["5"]},
        "trace_level": {"value": ["OFF"]},
    }
    assert served.control.asked == [
        ("trace_settings", "", {"trace_rate": 5, "trace_level": ("OFF",), "trace_file": ()})
    ]
    assert seen["unknown"][0] == seen["wrong"][0] == "StatusCode.INVALID_ARGUMENT"
    assert seen["unknown"][1].startswith("unknown trace setting 'rate': there are ")
    assert seen["wrong"][1] == "expect boolean for 'log_info' (in bool_param), got no value"


def test_it_changes_log_settings(served, by_tritonclient):
    served.control.answer = {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"}
    seen = by_tritonclient("change_log")
    assert served.control.asked == [
        ("log_settings", "", {"log_info": False, "log_verbose_level": 2, "log_format": "ISO8601"})
    ]
    assert seen["settings"] == {
        "log_info": {"bool_param": False},
        "log_verbose_level": {"uint32_param": 2},
        "log_format": {"string_param": "ISO8601"},
    }


def test_it_is_told_that_there_is_no_shared_memory(by_tritonclient):
    seen = by_tritonclient("share")
    assert {status for status, _ in seen.values()} == {"StatusCode.UNIMPLEMENTED"}
    assert seen["status"][1].startswith("system shared memory is not served")


def test_it_can_profile_a_model_as_perf_analyzer_does(by_tritonclient):
    seen = by_tritonclient("profile")
    assert seen == {
        "has statistics": True,
        "shapes": {"x": ["4"], "bias": ["4"]},
        "queued": [5, 10],
    }
