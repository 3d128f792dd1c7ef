"""Features of Triton that the main process warns of, because a model is served without them.

What a model needs to be served at all is looked at before, see `pbtxt.skip_reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gateway.onnx.run_entries import is_run_entry
from gateway.protocol.generated import model_config_pb2 as pb


def unserved_features(config: Any) -> Iterator[str]:
    """One sentence for each feature that an `inference.ModelConfig` asks for in vain."""
    return (text for asked_for, text in _FEATURES if asked_for(config))


def _delays_the_expired(config: Any) -> bool:
    dynamic = config.dynamic_batching
    policies = (dynamic.default_queue_policy, *dynamic.priority_queue_policy.values())
    return any(policy.timeout_action == pb.ModelQueuePolicy.DELAY for policy in policies)


def _names_devices(config: Any) -> bool:
    groups = config.instance_group
    return any(group.gpus or group.profile or group.secondary_devices for group in groups)


# In the order in which they are reported; each with the condition under which it is asked for.
_FEATURES: tuple[tuple[Callable[[Any], object], str], ...] = (
    (
        lambda config: config.dynamic_batching.preserve_ordering,
        "preserve_ordering is not kept: answers come as they are ready",
    ),
    (
        _delays_the_expired,
        "timeout_action DELAY is not done: expired requests are rejected",
    ),
    (
        lambda config: config.dynamic_batching.priority_queue_policy,
        "priority_queue_policy is not used: one queue policy holds for all levels",
    ),
    (
        lambda config: config.response_cache.enable,
        "response_cache is not used: every request is run",
    ),
    (
        lambda config: any(tensor.allow_ragged_batch for tensor in config.input),
        "allow_ragged_batch is not done: requests of one shape share a batch",
    ),
    (
        lambda config: config.optimization.HasField("cuda"),
        "optimization.cuda is not used",
    ),
    (
        lambda config: config.optimization.eager_batching,
        "optimization.eager_batching is not used",
    ),
    (
        lambda config: config.optimization.priority,
        "optimization.priority is not used",
    ),
    (
        lambda config: any(group.passive for group in config.instance_group),
        "passive instance groups are not made",
    ),
    (
        lambda config: any(group.HasField("rate_limiter") for group in config.instance_group),
        "rate_limiter is not used",
    ),
    (
        _names_devices,
        "gpus, profile and secondary_devices are not used",
    ),
    (
        lambda config: any(group.host_policy for group in config.instance_group),
        "host_policy is not used",
    ),
    (
        lambda config: any(
            key.startswith("memory.") and not is_run_entry(key) for key in config.parameters
        ),
        "parameters 'memory.*' other than memory.enable_memory_arena_shrinkage are not passed on",
    ),
    (
        lambda config: config.cc_model_filenames,
        "cc_model_filenames is not used",
    ),
    (
        lambda config: config.metric_tags or config.HasField("model_metrics"),
        "metric_tags and model_metrics are not used",
    ),
)
