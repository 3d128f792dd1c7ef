"""The `inference.ModelConfig` that the ModelConfig call answers, made in the control process.

It has what is configured and what the graph says, never what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.sources.version_policy import VersionPolicy
from gateway.core.plan import BatchingPlan, QueuePlan, TensorSpec, VersionPlan
from gateway.protocol.generated import model_config_pb2 as pb

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"


def model_config(
    plan: VersionPlan, configuration: ModelConfiguration, label_files: Mapping[str, str]
) -> pb.ModelConfig:
    """The planned version in the protocol's words; `label_files` are by the output's name."""
    batching = plan.batching
    config = pb.ModelConfig(
        name=plan.model, platform=PLATFORM, backend=BACKEND, max_batch_size=batching.max_batch_size
    )
    config.default_model_filename = configuration.model_filename or "model.onnx"
    _set_version_policy(config, configuration.versions or VersionPolicy())
    _set_tensors(config, plan, configuration, label_files)
    on_gpu = plan.session.providers[0] in ("CUDAExecutionProvider", "TensorrtExecutionProvider")
    kind = pb.ModelInstanceGroup.KIND_GPU if on_gpu else pb.ModelInstanceGroup.KIND_CPU
    config.instance_group.add(name=f"{plan.model}_0", count=plan.instances, kind=kind)
    if batching.dynamic and batching.max_batch_size > 0:
        _set_dynamic_batching(config.dynamic_batching, batching, plan.queue, configuration)
    for key, value in sorted((configuration.metadata or {}).items()):
        config.parameters[key].string_value = value
    _set_warmup(config, configuration)
    return config


def _set_tensors(
    config: pb.ModelConfig,
    plan: VersionPlan,
    configuration: ModelConfiguration,
    label_files: Mapping[str, str],
) -> None:
    batched = config.max_batch_size > 0
    formats = {tensor.name: tensor.format for tensor in configuration.inputs if tensor.format}
    for spec in plan.inputs:
        tensor = config.input.add(optional=spec.optional)
        _set_tensor(tensor, spec, batched=batched)
        if spec.name in formats:
            nhwc = formats[spec.name] == "NHWC"
            tensor.format = pb.ModelInput.FORMAT_NHWC if nhwc else pb.ModelInput.FORMAT_NCHW
    for spec in plan.outputs:
        output = config.output.add(label_filename=label_files.get(spec.name, ""))
        _set_tensor(output, spec, batched=batched)


def _set_version_policy(config: pb.ModelConfig, policy: VersionPolicy) -> None:
    match policy.kind:
        case "latest":
            config.version_policy.latest.num_versions = policy.count
        case "all":
            config.version_policy.all.SetInParent()
        case "specific":
            config.version_policy.specific.versions.extend(policy.versions)


def _set_tensor(tensor: Any, spec: TensorSpec, *, batched: bool) -> None:
    first = 1 if batched else 0
    tensor.name = spec.name
    tensor.data_type = _data_type(spec.datatype)
    tensor.dims.extend(spec.shape[first:])
    if not tensor.dims:
        # a size at least, as Triton's own ModelConfig has it: clients count on that
        tensor.dims.append(1)
        tensor.reshape.SetInParent()
    elif spec.model_shape is not None:
        tensor.reshape.SetInParent()
        tensor.reshape.shape.extend(spec.model_shape[first:])


def _set_dynamic_batching(
    dynamic: Any, batching: BatchingPlan, queue: QueuePlan, configuration: ModelConfiguration
) -> None:
    dynamic.SetInParent()
    dynamic.preferred_batch_size.extend(batching.preferred_batch_sizes)
    dynamic.max_queue_delay_microseconds = round(batching.max_queue_delay_s * 1e6)
    dynamic.priority_levels = queue.priority_levels
    dynamic.default_priority_level = queue.default_priority
    configured = configuration.queue
    if any(
        value is not None
        for value in (
            configured.max_requests,
            configured.default_timeout_s,
            configured.allow_timeout_override,
        )
    ):
        policy = dynamic.default_queue_policy
        policy.SetInParent()
        policy.max_queue_size = min(queue.max_requests, (1 << 32) - 1)
        policy.default_timeout_microseconds = round(queue.default_timeout_s * 1e6)
        policy.allow_timeout_override = queue.allow_timeout_override


def _set_warmup(config: pb.ModelConfig, configuration: ModelConfiguration) -> None:
    for configured in configuration.warmup or ():
        request = config.model_warmup.add(
            name=configured.name, batch_size=configured.batch_size, count=configured.count
        )
        for name, tensor in configured.inputs.items():
            shown = request.inputs[name]
            shown.data_type = _data_type(tensor.datatype) if tensor.datatype else pb.TYPE_INVALID
            shown.dims.extend(tensor.shape or ())
            if tensor.file:
                shown.input_data_file = tensor.file
            else:
                setattr(shown, f"{tensor.data or 'zero'}_data", True)


def _data_type(datatype: str) -> pb.DataType:
    return cast(
        "pb.DataType", pb.DataType.Value(f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}")
    )
