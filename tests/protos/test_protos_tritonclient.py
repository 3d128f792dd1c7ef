"""What tritonclient's stubs and config.pbtxt files say is read as the same messages here."""

import importlib.util
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pb2, text_format

from gateway.protocol.generated import inference_pb2, model_config_pb2

REQUEST = """
model_name: "fraud" model_version: "3" id: "r-1"
parameters { key: "priority" value { uint64_param: 1 } }
parameters { key: "sequence_id" value { int64_param: -7 } }
parameters { key: "weight" value { double_param: 0.5 } }
inputs { name: "x" datatype: "FP32" shape: [2, 3] parameters { key: "shared_memory_region" value { \
string_param: "r0" } } }
inputs { name: "ids" datatype: "INT64" shape: [2] contents { int64_contents: [1, -2] } }
inputs { name: "text" datatype: "BYTES" shape: [1] contents { bytes_contents: "\\000\\377" } }
outputs { name: "p" parameters { key: "classification" value { int64_param: 2 } } }
raw_input_contents: "\\001\\002\\003\\004"
raw_input_contents: ""
"""
STATISTICS = """
name: "fraud" version: "3" last_inference: 1700000000000 inference_count: 12 execution_count: 5
inference_stats { success { count: 12 ns: 34 } fail { count: 1 ns: 2 } queue { count: 3 ns: 4 } \
compute_input { count: 5 ns: 6 }
  compute_infer { count: 7 ns: 8 } compute_output { count: 9 ns: 10 } cache_hit { count: 11 ns: 12 \
} cache_miss { count: 13 ns: 14 } }
batch_stats { batch_size: 4 compute_infer { count: 2 ns: 18446744073709551615 } }
memory_usage { type: "CPU" id: 0 byte_size: 4096 }
response_stats { key: "0" value { cancel { count: 1 } empty_response { count: 2 } } }
"""
CONFIG = """
# what a typical file of an ONNX model says
name: "fraud"
backend: "onnxruntime"
platform: "onnxruntime_onnx"
max_batch_size: 32
version_policy: { specific: { versions: [1, 3] } }
input [
  { name: "x" data_type: TYPE_FP32 dims: [ -1, 6 ] format: FORMAT_NONE reshape: { shape: [ 6 ] } },
  { name: "flag" data_type: TYPE_BOOL dims: [ 1 ] optional: true allow_ragged_batch: true }
]
output [
  { name: "p", data_type: TYPE_FP32, dims: [ 2 ], label_filename: "labels.txt" }
]
instance_group [ { name: "main" count: 2 kind: KIND_CPU host_policy: "cpu"
    rate_limiter { resources [ { name: "R1" count: 4 } ] priority: 2 } } ]
dynamic_batching {
  preferred_batch_size: [ 8, 16 ]
  max_queue_delay_microseconds: 500
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 100000 \
allow_timeout_override: true max_queue_size: 64 }
  priority_queue_policy [ { key: 1 value: { timeout_action: DELAY max_queue_size: 8 } } ]
}
optimization {
  graph { level: 1 }
  priority: PRIORITY_MAX
  cuda { graphs: true graph_spec [ { batch_size: 4 input { key: "x" value { dim: [ 6 ] } } } ] }
  execution_accelerators {
    cpu_execution_accelerator : [ { name : "openvino" } ]
    gpu_execution_accelerator : [ { name : "tensorrt" parameters { key: "precision_mode" value: \
"FP16" } } ]
  }
  input_pinned_memory { enable: false }
}
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
parameters: { key: "enable_mem_arena", value: { string_value: "1" } }
model_warmup [ { name: "zeros" batch_size: 1 count: 3 inputs { key: "x" value { data_type: \
TYPE_FP32 dims: [ 6 ] zero_data: true } } } ]
model_transaction_policy { decoupled: false }
response_cache { enable: true }
metric_tags { key: "team" value: "risk" }
"""
SEQUENCE = """
name: "counter" max_batch_size: 4 default_model_filename: "m.onnx"
sequence_batching {
  max_sequence_idle_microseconds: 5000000
  direct { max_queue_delay_microseconds: 10 minimum_slot_utilization: 0.5 }
  control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, \
1 ] } ] },
                  { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } \
] } ]
  state [ { input_name: "in" output_name: "out" data_type: TYPE_FP32 dims: [ 1 ]
            initial_state { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true name: "s" } } ]
}
batch_input [ { kind: BATCH_ITEM_SHAPE target_name: "shape" data_type: TYPE_INT32 source_input: \
"in" } ]
"""
ENSEMBLE = """
name: "pair" platform: "ensemble" version_policy: { latest { num_versions: 2 } }
ensemble_scheduling { step [ { model_name: "a" model_version: -1 input_map { key: "x" value: "X" } \
output_map { key: "y" value: "mid" } },
                             { model_name: "b" model_version: 2 input_map { key: "x" value: "mid" \
} output_map { key: "y" value: "Y" } } ] }
"""
SAMPLES = {
    "request": (inference_pb2.ModelInferRequest, REQUEST),
    "statistics": (inference_pb2.ModelStatistics, STATISTICS),
    "config": (inference_pb2.ModelConfigResponse, f"config {{ {CONFIG} }}"),
    "sequence": (inference_pb2.ModelConfigResponse, f"config {{ {SEQUENCE} }}"),
    "ensemble": (inference_pb2.ModelConfigResponse, f"config {{ {ENSEMBLE} }}"),
}

needs_tritonclient = pytest.mark.skipif(
    importlib.util.find_spec("tritonclient") is None, reason="tritonclient is not installed"
)


def ask_tritonclient(code: str, *arguments: str, given: bytes = b"") -> bytes:
    """Runs code in a process of its own and returns what it writes.

    Its own process is needed because tritonclient's stubs and ours declare the same symbols.
    """
    preamble = (
        "import sys; from google.protobuf import text_format; from tritonclient.grpc import "
        "model_config_pb2, service_pb2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", preamble + code, *arguments],
        input=given,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@needs_tritonclient
@pytest.mark.parametrize("sample", SAMPLES)
def test_what_tritonclient_builds_is_read_here_as_the_same_message(sample: str) -> None:
    kind, text = SAMPLES[sample]
    build = (
        "sys.stdout.buffer.write(text_format.Parse(sys.argv[2], getattr(service_pb2, "
        "sys.argv[1])()).SerializeToString())"
    )
    theirs = kind.FromString(ask_tritonclient(build, kind.DESCRIPTOR.name, text))
    assert theirs == text_format.Parse(text, kind())


@needs_tritonclient
@pytest.mark.parametrize("sample", SAMPLES)
def test_what_is_built_here_is_read_by_tritonclient_as_the_same_message(sample: str) -> None:
    kind, text = SAMPLES[sample]
    compare = (
        "k = getattr(service_pb2, sys.argv[1]); assert k.FromString(sys.stdin.buffer.read()) == "
        "text_format.Parse(sys.argv[2], k())"
    )
    ask_tritonclient(
        compare,
        kind.DESCRIPTOR.name,
        text,
        given=text_format.Parse(text, kind()).SerializeToString(),
    )


def declared(messages, prefix: str = "") -> dict[str, tuple]:
    """What is declared of every field and enum value, by its full name."""
    found: dict[str, tuple] = {}
    for message in messages:
        path = f"{prefix}{message.name}"
        for field in message.field:
            choice = (
                message.oneof_decl[field.oneof_index].name
                if field.HasField("oneof_index")
                else None
            )
            found[f"{path}.{field.name}"] = (
                field.number,
                field.type,
                field.label,
                field.type_name,
                choice,
            )
        for enum in message.enum_type:
            found |= {f"{path}.{enum.name}.{value.name}": (value.number,) for value in enum.value}
        found[path] = ()
        found |= declared(message.nested_type, f"{path}.")
    return found


@needs_tritonclient
@pytest.mark.parametrize(
    ("module", "theirs"), [(inference_pb2, "service_pb2"), (model_config_pb2, "model_config_pb2")]
)
def test_every_field_is_declared_as_in_tritonclient_but_for_a_few_that_others_have(
    module, theirs: str
) -> None:
    file = descriptor_pb2.FileDescriptorProto.FromString(
        ask_tritonclient(f"sys.stdout.buffer.write({theirs}.DESCRIPTOR.serialized_pb)")
    )
    ours = declared(
        descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb).message_type
    )
    for_kserve = {
        f"RepositoryModel{verb}Response.{field}"
        for verb in ("Load", "Unload")
        for field in ("model_name", f"is{verb}ed")
        if file.service
    }
    tensor = "ModelMetadataResponse.TensorMetadata.Parameters"  # as in MLServer's messages
    of_mlserver = {name for name in ours if name.lower().startswith(tensor.lower())}
    more = for_kserve | of_mlserver
    assert for_kserve <= ours.keys()
    assert {name: fact for name, fact in ours.items() if name not in more} == declared(
        file.message_type
    )


@needs_tritonclient
def test_tritonclient_reads_the_answer_of_loading_without_complaint() -> None:
    ours = inference_pb2.RepositoryModelLoadResponse(
        model_name="fraud", isLoaded=True
    ).SerializeToString()
    assert ours == b"\x0a\x05fraud\x10\x01"
    ask_tritonclient(
        "service_pb2.RepositoryModelLoadResponse.FromString(sys.stdin.buffer.read())", given=ours
    )


def test_a_typical_config_pbtxt_is_read() -> None:
    config = text_format.Parse(CONFIG, model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("fraud", "onnxruntime", 32)
    assert [(i.name, list(i.dims), i.optional) for i in config.input] == [
        ("x", [-1, 6], False),
        ("flag", [1], True),
    ]
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert (
        config.dynamic_batching.priority_queue_policy[1].timeout_action
        == model_config_pb2.ModelQueuePolicy.DELAY
    )
    assert list(config.version_policy.specific.versions) == [1, 3]
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert (
        config.optimization.execution_accelerators.cpu_execution_accelerator[0].name == "openvino"
    )


def test_a_config_has_one_scheduler_only() -> None:
    config = model_config_pb2.ModelConfig(
        dynamic_batching=model_config_pb2.ModelDynamicBatching(priority_levels=1)
    )
    config.sequence_batching.SetInParent()
    assert not config.HasField("dynamic_batching")
    with pytest.raises(text_format.ParseError, match="scheduling_choice"):
        text_format.Parse(
            "dynamic_batching { } sequence_batching { }", model_config_pb2.ModelConfig()
        )
