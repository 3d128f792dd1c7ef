"""Each feature of Triton that a model is served without has a warning of its own."""

import pytest
from google.protobuf import text_format

from gateway.control.models.configuration.unserved_features import unserved_features
from gateway.protocol.generated.model_config_pb2 import ModelConfig


def warnings(text):
    return list(unserved_features(text_format.Parse(text, ModelConfig())))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dynamic_batching { preserve_ordering: true }", "preserve_ordering"),
        ("dynamic_batching { default_queue_policy { timeout_action: DELAY } }", "DELAY"),
        ("dynamic_batching { priority_queue_policy { key: 1 value {} } }", "priority_queue_policy"),
        ("response_cache { enable: true }", "response_cache"),
        ('input { name: "x" allow_ragged_batch: true }', "allow_ragged_batch"),
        ("optimization { cuda { graphs: true } }", "cuda"),
        ("optimization { eager_batching: true }", "eager_batching"),
        ("optimization { priority: PRIORITY_MAX }", "optimization.priority"),
        ("instance_group { passive: true }", "passive"),
        ("instance_group { rate_limiter { priority: 2 } }", "rate_limiter"),
        ("instance_group { gpus: [ 0 ] }", "gpus"),
        ('instance_group { profile: "large" }', "profile"),
        ('instance_group { host_policy: "near" }', "host_policy"),
        ('parameters { key: "memory.unknown" value {} }', "memory."),
        ('cc_model_filenames { key: "7.5" value: "seven.onnx" }', "cc_model_filenames"),
        ('metric_tags { key: "team" value: "a" }', "metric_tags"),
        ("model_metrics {}", "model_metrics"),
    ],
)
def test_a_feature_that_is_asked_for_is_named(text, word):
    (warning,) = warnings(text)
    assert word in warning


def test_what_is_not_written_is_not_asked_for():
    assert warnings("") == []


def test_they_are_named_in_one_order_whatever_the_file_has():
    text = """
    metric_tags { key: "team" value: "a" }
    instance_group { host_policy: "near" passive: true }
    dynamic_batching { priority_queue_policy { key: 1 value { timeout_action: DELAY } } }
    """
    assert [warning.split()[0] for warning in warnings(text)] == [
        "timeout_action",
        "priority_queue_policy",
        "passive",
        "host_policy",
        "metric_tags",
    ]
