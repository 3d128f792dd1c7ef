"""`inference.ModelConfig`, as Triton's repositories write it, in our own words.

Translated in the main process. Where Triton does something that is not done here, a warning says so
and the model is served without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from gateway.config.quantities import Duration
from gateway.control.models.configuration.configuration import ModelConfiguration, Reading
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
)
from gateway.control.models.configuration.tensor_configuration import (
    Datatype,
    TensorConfiguration,
    WarmupRequest,
    WarmupTensor,
)
from gateway.control.models.configuration.triton_faults import triton_faults
from gateway.control.models.configuration.triton_session import (
    is_session_parameter,
    session_options,
)
from gateway.control.models.configuration.unserved_features import unserved_features
from gateway.control.models.sources.version_policy import VersionPolicy
from gateway.protocol.generated import model_config_pb2 as pb

_US = 1e-6


def translate(config: Any, available_providers: Sequence[str], source: str) -> Reading:
    """The configuration with its faults and warnings.

    The caller has seen to it that the model is of a kind that is served; `source` names the
    configuration in faults and warnings.
    """
    faults = list(triton_faults(config))
    warnings = list(unserved_features(config))
    try:
        configuration = _configuration(config, available_providers, warnings)
    except ValueError as error:
        faults.append(str(error))
        configuration = ModelConfiguration()
    return Reading(
        configuration=configuration,
        implied=_implied(config),
        warnings=tuple(f"{source}: {text}" for text in warnings),
        faults=tuple(f"{source}: {text}" for text in faults),
    )


def _configuration(
    config: Any, available_providers: Sequence[str], warnings: list[str]
) -> ModelConfiguration:
    return ModelConfiguration(
        batching=_batching(config),
        queue=_queue(config),
        instances=sum(max(group.count, 1) for group in config.instance_group if not group.passive)
        or None,
        versions=_versions(config),
        model_filename=config.default_model_filename or None,
        inputs=tuple(_input(tensor) for tensor in config.input),
        outputs=tuple(
            _tensor(tensor, labels=tensor.label_filename or None) for tensor in config.output
        ),
        session=session_options(config, available_providers, warnings),
        warmup=tuple(_warmup(request) for request in config.model_warmup if request.batch_size > 0)
        or None,
        metadata={
            k: v.string_value
            for k, v in sorted(config.parameters.items())
            if not is_session_parameter(k)
        }
        or None,
    )


def _implied(config: Any) -> ModelConfiguration:
    """What follows from keys that are not written.

    Triton completes a configuration from the graph only where inputs or outputs are missing in it.
    """
    complete = bool(config.input and config.output)
    listed = any(tensor.dims for tensor in (*config.input, *config.output))
    return ModelConfiguration(
        batching=Batching(
            max_batch_size=0 if listed and config.max_batch_size == 0 else None,
            dynamic=False if complete and not config.HasField("dynamic_batching") else None,
        )
    )


def _batching(config: Any) -> Batching:
    dynamic = config.dynamic_batching
    delay_s = dynamic.max_queue_delay_microseconds * _US
    return Batching(
        max_batch_size=config.max_batch_size if config.max_batch_size > 0 else None,
        dynamic=True if config.HasField("dynamic_batching") else None,
        max_queue_delay_s=Duration(delay_s) if delay_s else None,
        preferred_batch_sizes=tuple(dynamic.preferred_batch_size) or None,
    )


def _queue(config: Any) -> Queue:
    dynamic = config.dynamic_batching
    policy = config.dynamic_batching.default_queue_policy
    timeout_s = policy.default_timeout_microseconds * _US
    return Queue(
        max_requests=policy.max_queue_size or None,
        default_timeout_s=Duration(timeout_s) if timeout_s else None,
        allow_timeout_override=policy.allow_timeout_override
        if dynamic.HasField("default_queue_policy")
        else None,
        priority_levels=dynamic.priority_levels or None,
        default_priority=dynamic.default_priority_level or None,
    )


def _versions(config: Any) -> VersionPolicy | None:
    policy = config.version_policy
    match policy.WhichOneof("policy_choice"):
        case "latest":
            return VersionPolicy("latest", policy.latest.num_versions or 1)
        case "all":
            return VersionPolicy("all")
        case "specific":
            return VersionPolicy("specific", versions=tuple(sorted(set(policy.specific.versions))))
    return None


def _input(tensor: Any) -> TensorConfiguration:
    image = {pb.ModelInput.FORMAT_NHWC: "NHWC", pb.ModelInput.FORMAT_NCHW: "NCHW"}.get(
        tensor.format
    )
    return _tensor(tensor, optional=True if tensor.optional else None, format=image)


def _tensor(tensor: Any, **more: Any) -> TensorConfiguration:
    return TensorConfiguration(
        name=tensor.name,
        datatype=datatype_name(tensor.data_type),
        shape=tuple(tensor.dims) or None,
        reshape=tuple(tensor.reshape.shape) if tensor.HasField("reshape") else None,
        **more,
    )


def datatype_name(value: int) -> Datatype | None:
    """The protocol's name of an `inference.DataType`; None for TYPE_INVALID."""
    if value not in pb.DataType.values() or value == pb.TYPE_INVALID:
        return None
    name = pb.DataType.Name(cast("pb.DataType", value)).removeprefix("TYPE_")
    return cast("Datatype", "BYTES" if name == "STRING" else name)


def _warmup_data(tensor: Any) -> Literal["zero", "random"] | None:
    """What a warm-up tensor is filled with; None: a file has its data."""
    if tensor.random_data:
        return "random"
    return None if tensor.input_data_file else "zero"


def _warmup(request: Any) -> WarmupRequest:
    inputs = {
        name: WarmupTensor(
            datatype=datatype_name(tensor.data_type),
            shape=tuple(tensor.dims) or None,
            data=_warmup_data(tensor),
            file=tensor.input_data_file or None,
        )
        for name, tensor in sorted(request.inputs.items())
    }
    return WarmupRequest(
        name=request.name, batch_size=request.batch_size, count=request.count or 1, inputs=inputs
    )
