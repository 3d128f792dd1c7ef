"""Configurations of existing Triton repositories are understood, or the reason why not is given."""

import pytest

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
    SessionOptions,
)
from gateway.control.models.configuration.pbtxt import read_pbtxt_file
from gateway.control.models.configuration.tensor_configuration import (
    TensorConfiguration,
    WarmupRequest,
    WarmupTensor,
)
from gateway.control.models.sources.version_policy import VersionPolicy
from tests.support.repository_models import write

COMPLETE = """
# as the documentation has it
name: "densenet_onnx"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "data_0", data_type: TYPE_FP32, format: FORMAT_NCHW, dims: [ 3, 224, 224 ], reshape { \
shape: [ 1, 3, 224, 224 ] } },
  { name: "mask" data_type: TYPE_BOOL dims: [ -1 ] optional: true }
]
output [ { name: "fc6_1", data_type: TYPE_STRING, dims: [ 1000 ], label_filename: \
"densenet_labels.txt" } ]
instance_group [ { count: 2, kind: KIND_CPU }, { kind: KIND_MODEL } ]
version_policy: { specific { versions: [ 3, 1 ] } }
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 500
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy { max_queue_size: 100 default_timeout_microseconds: 5000000 \
allow_timeout_override: true }
}
model_warmup [
  {
    name: "zeros", batch_size: 4, count: 2,
    inputs { key: "data_0" value { data_type: TYPE_FP32 dims: [ 3, 224, 224 ] zero_data: true } }
    inputs { key: "mask" value { data_type: TYPE_BOOL dims: [ 5 ] input_data_file: "mask" } }
  },
  { name: "none", batch_size: 0 }
]
optimization { graph { level: 1 } }
parameters { key: "intra_op_thread_count" value { string_value: "4" } }
parameters { key: "execution_mode" value { string_value: "1" } }
parameters { key: "enable_mem_arena" value { string_value: "0" } }
parameters { key: "session.set_denormal_as_zero" value { string_value: "1" } }
parameters { key: "owner" value { string_value: "vision" } }
"""


def read(tmp_path, text, providers=("CPUExecutionProvider",), name=None):
    return read_pbtxt_file(write(tmp_path / "config.pbtxt", text), providers, name)


def test_everything_that_is_served_is_carried_over(tmp_path):
    reading = read(tmp_path, COMPLETE, name="densenet_onnx")
    assert (reading.faults, reading.warnings, reading.skipped) == ((), (), "")
    assert reading.configuration == ModelConfiguration(
        batching=Batching(
            max_batch_size=8, dynamic=True, max_queue_delay_s=0.0005, preferred_batch_sizes=(4, 8)
        ),
        queue=Queue(
            max_requests=100,
            default_timeout_s=5.0,
            allow_timeout_override=True,
            priority_levels=3,
            default_priority=2,
        ),
        instances=3,
        versions=VersionPolicy("specific", versions=(1, 3)),
        inputs=(
            TensorConfiguration(
                name="data_0",
                datatype="FP32",
                shape=(3, 224, 224),
                reshape=(1, 3, 224, 224),
                format="NCHW",
            ),
            TensorConfiguration(name="mask", datatype="BOOL", shape=(-1,), optional=True),
        ),
        outputs=(
            TensorConfiguration(
                name="fc6_1", datatype="BYTES", shape=(1000,), labels="densenet_labels.txt"
            ),
        ),
        session=SessionOptions(
            intra_op_threads=4,
            execution_mode="parallel",
            graph_optimization="extended",
            memory_arena=False,
            options={"session.set_denormal_as_zero": "1"},
        ),
        warmup=(
            WarmupRequest(
                name="zeros",
                batch_size=4,
                count=2,
                inputs={
                    "data_0": WarmupTensor(datatype="FP32", shape=(3, 224, 224), data="zero"),
                    "mask": WarmupTensor(datatype="BOOL", shape=(5,), file="mask"),
                },
            ),
        ),
        metadata={"owner": "vision"},
    )


def test_an_empty_file_says_nothing(tmp_path):
    reading = read(tmp_path, "")
    assert reading.configuration == reading.implied == ModelConfiguration()


IO = 'input { name: "x" dims: [ -1, 4 ] } output { name: "y" dims: [ -1, 3 ] }'


@pytest.mark.parametrize(
    ("text", "max_batch_size", "dynamic"),
    [
        ('backend: "onnxruntime"', None, None),
        (IO, 0, False),
        (f"max_batch_size: 8 {IO}", None, False),
        (f"max_batch_size: 8 dynamic_batching {{}} {IO}", None, None),
        ('max_batch_size: 8 input { name: "x" dims: [ 4 ] }', None, None),
        ('output { name: "y" label_filename: "l" }', None, None),
    ],
)
def test_what_is_not_said_means_what_triton_means_by_it(tmp_path, text, max_batch_size, dynamic):
    """Without `dynamic_batching` a complete configuration runs each request alone.

    An incomplete configuration is completed from the graph.
    """
    implied = read(tmp_path, text).implied.batching
    assert (implied.max_batch_size, implied.dynamic) == (max_batch_size, dynamic)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", None),
        ("version_policy { latest {} }", VersionPolicy("latest", 1)),
        ("version_policy { latest { num_versions: 2 } }", VersionPolicy("latest", 2)),
        ("version_policy { all {} }", VersionPolicy("all")),
    ],
)
def test_version_policies(tmp_path, text, policy):
    assert read(tmp_path, text).configuration.versions == policy


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('platform: "ensemble"', "ensemble"),
        ('ensemble_scheduling { step { model_name: "a" } }', "ensemble"),
        ('backend: "python"', "backend 'python' is not served"),
        ('backend: "tensorrt"', "backend 'tensorrt' is not served"),
        ('platform: "tensorflow_savedmodel"', "platform 'tensorflow_savedmodel'"),
        ('default_model_filename: "model.py"', "only ONNX models are served"),
        ("sequence_batching {}", "sequences are not served"),
        ("model_transaction_policy { decoupled: true }", "decoupled"),
        ("batch_input { kind: BATCH_ELEMENT_COUNT }", "batch_input"),
        ('model_operations { op_library_filename: "x.so" }', "custom operators"),
        ('model_repository_agents { agents { name: "checksum" } }', "repository agents"),
    ],
)
def test_what_is_not_served_is_skipped_with_the_reason(tmp_path, text, reason):
    reading = read(tmp_path, text)
    assert reading.skipped.startswith("config.pbtxt: ")
    assert reason in reading.skipped
    assert reading.faults == ()


@pytest.mark.parametrize(
    "text",
    [
        'backend: "onnxruntime"',
        'platform: "onnxruntime_onnx"',
        'backend: "onnxruntime" platform: "onnxruntime_onnx"',
        'name: "m"',
    ],
)
def test_what_is_served_is_not_skipped(tmp_path, text):
    assert read(tmp_path, text).skipped == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('name: "m"\nmax_batch_size: "a"', "config.pbtxt: line 2, column 17: "),
        ("input [ {", "config.pbtxt: line 1, column 9: "),
        ("max_batch_size: 1\nmax_batch_size: 2", "config.pbtxt: line 2, column 17: Message type"),
        ("input { data_type: TYPE_FP31 }", "has no value named TYPE_FP31"),
        ("max_batch_size: -1", "max_batch_size must not be negative, got -1"),
        ("input { dims: [ 1 ] }", "an input has no name"),
        (
            'output { name: "y" dims: [ -2 ] }',
            "output 'y': sizes are -1 (free) or not negative, got [-2]",
        ),
        ('input { name: "x" is_shape_tensor: true }', "'x' is a shape tensor"),
        ("dynamic_batching { preferred_batch_size: 0 }", "preferred_batch_size must be above 0"),
        ("version_policy { specific { versions: 0 } }", "versions are above 0"),
        (
            'model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { dims: -1 } } }',
            "model_warmup 'w': every size must be given",
        ),
        (
            'parameters { key: "intra_op_thread_count" value { string_value: "many" } }',
            "'intra_op_thread_count' must be a whole number, got 'many'",
        ),
    ],
)
def test_faults_are_named(tmp_path, text, fault):
    (found,) = read(tmp_path, text).faults
    assert fault in found


def test_a_name_that_is_not_the_folders_is_a_fault(tmp_path):
    assert (
        "the name 'a' is not the folder's, 'b'" in read(tmp_path, 'name: "a"', name="b").faults[0]
    )
    assert read(tmp_path, 'name: "a"', name="a").faults == read(tmp_path, 'name: "a"').faults == ()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\xff", "line 1, column 1: the byte 0xff is no UTF-8"),
        (b"# caf\xe9\nmax_batch_size: 4 \xe9\n", "line 2, column 19: the byte 0xe9"),
        (b'output { name: "y" label_filename: "#\xe9.txt" }', "line 1, column 38: the byte 0xe9"),
    ],
)
def test_bytes_that_are_no_text_are_a_fault_outside_comments(tmp_path, data, fault):
    write(tmp_path / "config.pbtxt", data)
    (found,) = read_pbtxt_file(tmp_path / "config.pbtxt").faults
    assert found.startswith("config.pbtxt: cannot be read: line ")
    assert fault in found
    assert found.endswith("which only comments may hold: save the file as UTF-8")


@pytest.mark.parametrize(
    "data",
    [
        b"# caf\xe9\r\nmax_batch_size: 4 # \xff 'tis\r\nname: 'a'\r\n#\xe9",
        b"\xef\xbb\xbfname: 'a' max_batch_size: 4",
    ],
)
def test_bytes_that_are_no_text_may_stand_in_comments_and_a_mark_before_the_text(tmp_path, data):
    write(tmp_path / "config.pbtxt", data)
    reading = read_pbtxt_file(tmp_path / "config.pbtxt", name="a")
    assert (reading.faults, reading.warnings) == ((), ())
    assert reading.configuration.batching.max_batch_size == 4


def test_unknown_fields_are_ignored_and_all_named(tmp_path):
    text = """
    novel_setting { depth: 1 }
    instance_group [ { count: 2 flavour: "mint" } ]
    input [ { name: "no_field: here" dims: [ 1 ] } ]  # nor_here: 1
    count: 7
    """
    reading = read(tmp_path, text)
    assert reading.faults == ()
    assert reading.configuration.instances == 2
    assert [warning.split("'")[1] for warning in reading.warnings] == [
        "novel_setting",
        "depth",
        "flavour",
    ]


def test_what_is_served_without_is_said(tmp_path):
    reading = read(tmp_path, "response_cache { enable: true }")
    assert (reading.faults, reading.skipped) == ((), "")
    assert reading.warnings == ("config.pbtxt: response_cache is not used: every request is run",)
