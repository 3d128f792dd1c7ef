"""ModelConfig answers what is configured and what the graph says, never what was measured."""

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.typed_yaml import decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.merge import fill
from gateway.control.models.configuration.pbtxt import read_pbtxt_file
from gateway.control.models.planning.version_plan import PlanDefaults, plan_version
from gateway.protocol.generated.model_config_pb2 import ModelConfig
from tests.support.repository_models import findings, found_model, graph_tensor, write


def answered(configuration=None, found=None, *, cores=2, **sidecars) -> ModelConfig:
    model, version = found_model(configuration, **sidecars)
    made = plan_version(
        model, version, found or findings(), fingerprint="", defaults=PlanDefaults(cores=cores)
    )
    return ModelConfig.FromString(made.model_config)


def test_a_version_batched_on_evidence():
    assert text_format.MessageToString(answered()) == text_format.MessageToString(
        text_format.Parse(
            """
            name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 64 \
default_model_filename: "model.onnx"
            version_policy { latest { num_versions: 1 } }
            input { name: "x" data_type: TYPE_FP32 dims: 4 }
            output { name: "y" data_type: TYPE_FP32 dims: 3 }
            instance_group { name: "m_0" count: 2 kind: KIND_CPU }
            dynamic_batching {}
            """,
            ModelConfig(),
        )
    )


def test_a_version_that_is_not_batched_has_whole_shapes_and_no_dynamic_batching():
    config = answered(
        found=findings(
            batchable=False,
            inputs=(graph_tensor("x", ("n", "t"), "tensor(string)", optional=True),),
        )
    )
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert list(config.input[0].dims) == [-1, -1]
    assert config.input[0].data_type == 13
    assert config.input[0].optional


def test_a_tensor_of_one_axis_has_a_size_as_triton_has_it():
    """Every label of scikit-learn is [N]; clients take a tensor without dims for undefined."""
    label = answered(found=findings(outputs=(graph_tensor("label", ("n",), "tensor(int64)"),)))
    assert list(label.output[0].dims) == [1]
    assert label.output[0].HasField("reshape")
    assert not label.output[0].reshape.shape


@given(
    st.dictionaries(st.sampled_from([1, 2, 4, 8, 16, 32, 64]), st.floats(0.1, 1e6)),
    st.text(max_size=5),
    st.integers(0, 1 << 40),
)
def test_measured_values_never_show(cost_us, evidence, memory_bytes):
    assert (
        answered(found=findings(cost_us=cost_us, evidence=evidence, memory_bytes=memory_bytes))
        == answered()
    )


ROUND_TRIP = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 2 dims: 2 reshape { shape: 4 } format: FORMAT_NONE }
output { name: "y" data_type: TYPE_FP32 dims: 3 label_filename: "l.txt" }
instance_group { count: 3 kind: KIND_CPU }
version_policy { specific { versions: 1 versions: 4 } }
dynamic_batching {
  preferred_batch_size: 4 preferred_batch_size: 8 max_queue_delay_microseconds: 500 \
priority_levels: 2 default_priority_level: 1
  default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 1500000 \
allow_timeout_override: true }
}
model_warmup { name: "w" batch_size: 2 count: 1 inputs { key: "x" value { data_type: TYPE_FP32 \
dims: 2 dims: 2 random_data: true } } }
parameters { key: "owner" value { string_value: "me" } }
"""


def test_what_config_pbtxt_says_is_answered(tmp_path):
    reading = read_pbtxt_file(write(tmp_path / "config.pbtxt", ROUND_TRIP))
    assert reading.faults == reading.warnings == ()
    config = answered(
        fill(reading.configuration, reading.implied), labels={"l.txt": ("a", "b", "c")}
    )
    expected = text_format.Parse(ROUND_TRIP, ModelConfig())
    expected.MergeFrom(
        ModelConfig(
            name="m",
            platform="onnxruntime_onnx",
            backend="onnxruntime",
            default_model_filename="model.onnx",
        )
    )
    expected.instance_group[0].name = "m_0"
    assert text_format.MessageToString(config) == text_format.MessageToString(expected)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("versions: all", lambda c: c.version_policy.HasField("all")),
        ("versions: latest 3", lambda c: c.version_policy.latest.num_versions == 3),
        (
            "batching: {max_batch_size: 4, dynamic: false}",
            lambda c: c.max_batch_size == 4 and not c.HasField("dynamic_batching"),
        ),
        ("model_filename: net.onnx", lambda c: c.default_model_filename == "net.onnx"),
        ("inputs: [{name: x, format: NHWC}]", lambda c: c.input[0].format == 1),
        ("session: {providers: [CUDAExecutionProvider]}", lambda c: c.instance_group[0].kind == 1),
        (
            "warmup: [{inputs: {x: {file: f}}}]",
            lambda c: c.model_warmup[0].inputs["x"].input_data_file == "f",
        ),
    ],
)
def test_what_model_yaml_says_is_answered(text, check):
    assert check(answered(decode_yaml(text, ModelConfiguration), warmup_files={"f": "/f"}))


def test_labels_txt_is_answered_where_it_fits():
    assert answered(labels={"labels.txt": ("a", "b", "c")}).output[0].label_filename == "labels.txt"
