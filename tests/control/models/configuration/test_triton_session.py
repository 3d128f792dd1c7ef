"""What Triton's configuration says about ONNX Runtime becomes options of the session."""

import pytest
from google.protobuf import text_format

from gateway.control.models.configuration.execution_configuration import SessionOptions
from gateway.control.models.configuration.triton_session import session_options
from gateway.protocol.generated.model_config_pb2 import ModelConfig

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"


def session(text, available=(CPU,)):
    warnings = []
    return session_options(text_format.Parse(text, ModelConfig()), available, warnings), warnings


def accelerator(kind, name, more=""):
    return f'optimization {{ execution_accelerators {{ {kind} {{ name: "{name}" {more} }} }} }}'


def test_gpu_instances_run_on_cpu_unless_onnx_runtime_has_the_provider():
    text = "instance_group { count: 2 kind: KIND_GPU }"
    without, warnings = session(text)
    assert without.providers is None
    (warning,) = warnings
    assert warning == (
        "KIND_GPU is not used, because the installed ONNX Runtime has no "
        "CUDAExecutionProvider; the model runs on CPU"
    )
    with_cuda, warnings = session(text, (CUDA, CPU))
    assert with_cuda.providers == (CUDA, CPU)
    assert warnings == []


def test_an_accelerator_that_is_not_installed_is_named():
    found, warnings = session(accelerator("cpu_execution_accelerator", "openvino"))
    assert found.providers is None
    (warning,) = warnings
    assert warning.startswith("the execution accelerator 'openvino' is not used")
    assert OPENVINO in warning


def test_an_accelerator_that_is_installed_comes_before_the_cpu_without_its_parameters():
    parameters = 'parameters { key: "precision" value: "FP16" }'
    text = accelerator("cpu_execution_accelerator", "openvino", parameters)
    found, warnings = session(text, (OPENVINO, CPU))
    assert found.providers == (OPENVINO, CPU)
    assert warnings == ["parameters of the execution accelerator 'openvino' are not passed on"]


def test_a_provider_that_is_wanted_twice_is_named_once():
    text = f"instance_group {{ kind: KIND_GPU }} {accelerator('gpu_execution_accelerator', 'cuda')}"
    found, _ = session(text, (CUDA, CPU))
    assert found.providers == (CUDA, CPU)


def test_where_nothing_is_said_nothing_is_set():
    assert session("") == (SessionOptions(), [])


@pytest.mark.parametrize("text", ["many", "-1", "1.5", ""])
def test_a_number_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="'intra_op_thread_count' must be a whole number"):
        session(f'parameters {{ key: "intra_op_thread_count" value {{ string_value: "{text}" }} }}')


def test_what_onnx_runtime_takes_with_each_run_is_passed_on():
    key = "memory.enable_memory_arena_shrinkage"
    found, warnings = session(
        f'parameters {{ key: "{key}" value {{ string_value: "cpu:0" }} }} '
        'parameters { key: "memory.unknown" value { string_value: "1" } }'
    )
    assert (found.options, warnings) == ({key: "cpu:0"}, [])
