"""`inference.ModelConfig`, as Triton's repositories write it, in our own words.

Where Triton does something that is not done here, a warning says so and
the model is served without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

from gateway.config.quantities import Duration
from gateway.control.models.configuration.configuration import ModelConfiguration, Reading
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
    SessionOptions,
)
from gateway.control.models.configuration.tensor_configuration import (
    Datatype,
    TensorConfiguration,
    WarmupRequest,
    WarmupTensor,
)
from gateway.control.models.sources.version_policy import VersionPolicy
from gateway.protocol.generated import model_config_pb2 as pb

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_ACCELERATORS = {
    "openvino": "OpenVINOExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": _CUDA,
}
_GRAPH_LEVELS: dict[int, Literal["all", "extended", "basic", "disabled"]] = {
    -1: "basic",
    1: "extended",
    2: "disabled",
}
_ONNX_RUNTIME_PARAMETERS = (
    "intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena",
    "enable_mem_pattern",
)  # fmt: skip
_OPTION_PREFIXES = ("session.", "optimization.", "ep.")
_US = 1e-6


def translate(config: Any, available_providers: Sequence[str], source: str) -> Reading:
    """The configuration's reading.

    The caller has seen to it that the model is of a kind that is served.
    """
    faults = list(_faults(config))
    warnings = [*_unserved_features(config)]
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
        session=_session(config, available_providers, warnings),
        warmup=tuple(_warmup(request) for request in config.model_warmup if request.batch_size > 0)
        or None,
        metadata={
            k: v.string_value
            for k, v in sorted(config.parameters.items())
            if not _is_session_parameter(k)
        }
        or None,
    )


def _implied(config: Any) -> ModelConfiguration:
    """Triton completes a configuration from the graph.

    It does so only where inputs or outputs are missing in it.
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
    """None: the file has it."""
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


def _session(
    config: Any, available_providers: Sequence[str], warnings: list[str]
) -> SessionOptions:
    texts = {key: value.string_value for key, value in config.parameters.items()}
    level = config.optimization.graph.level
    return SessionOptions(
        providers=_providers(config, available_providers, warnings),
        intra_op_threads=_number(texts, "intra_op_thread_count"),
        inter_op_threads=_number(texts, "inter_op_thread_count"),
        execution_mode={None: None, 0: "sequential"}.get(
            _number(texts, "execution_mode"), "parallel"
        ),
        graph_optimization=_GRAPH_LEVELS.get(level),
        memory_arena=_switch(texts, "enable_mem_arena"),
        memory_pattern=_switch(texts, "enable_mem_pattern"),
        options={
            key: value for key, value in sorted(texts.items()) if key.startswith(_OPTION_PREFIXES)
        }
        or None,
    )


def _providers(
    config: Any, available: Sequence[str], warnings: list[str]
) -> tuple[str, ...] | None:
    accelerators = config.optimization.execution_accelerators
    wanted = []
    for accelerator in (
        *accelerators.gpu_execution_accelerator,
        *accelerators.cpu_execution_accelerator,
    ):
        wanted.append(
            (
                f"the execution accelerator '{accelerator.name}'",
                _ACCELERATORS.get(accelerator.name, accelerator.name),
            )
        )
        if accelerator.parameters:
            warnings.append(
                f"parameters of the execution accelerator '{accelerator.name}' are not passed on"
            )
    if any(group.kind == pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group):
        wanted.append(("KIND_GPU", _CUDA))
    warnings.extend(
        f"{what} is not used, because the installed ONNX Runtime has no "
        f"{name}; the model runs on CPU"
        for what, name in wanted
        if name not in available
    )
    there = dict.fromkeys(name for _, name in wanted if name in available)
    return (*there, _CPU) if there else None


def _is_session_parameter(key: str) -> bool:
    return key in _ONNX_RUNTIME_PARAMETERS or key.startswith((*_OPTION_PREFIXES, "memory."))


def _number(parameters: dict[str, str], key: str) -> int | None:
    text = parameters.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"parameters: '{key}' must be a whole number, got '{text}'")
    return int(text[:9])


def _switch(parameters: dict[str, str], key: str) -> bool | None:
    number = _number(parameters, key)
    return None if number is None else bool(number)


def _faults(config: Any) -> Iterator[str]:
    if config.max_batch_size < 0:
        yield f"max_batch_size must not be negative, got {config.max_batch_size}"
    for tensor in config.input:
        yield from _tensor_faults(tensor, "input")
    for tensor in config.output:
        yield from _tensor_faults(tensor, "output")
    if any(size < 1 for size in config.dynamic_batching.preferred_batch_size):
        yield (
            "preferred_batch_size must be above 0, got "
            f"{list(config.dynamic_batching.preferred_batch_size)}"
        )
    if any(version < 1 for version in config.version_policy.specific.versions):
        yield (
            "version_policy: versions are above 0, got "
            f"{list(config.version_policy.specific.versions)}"
        )
    for request in config.model_warmup:
        if any(size < 0 for tensor in request.inputs.values() for size in tensor.dims):
            yield f"model_warmup '{request.name}': every size must be given"


def _tensor_faults(tensor: Any, kind: str) -> Iterator[str]:
    if not tensor.name:
        yield f"an {kind} has no name"
    if any(size < -1 for size in (*tensor.dims, *tensor.reshape.shape)):
        yield (
            f"{kind} '{tensor.name}': sizes are -1 (free) or not negative, got "
            f"{[*tensor.dims, *tensor.reshape.shape]}"
        )
    if tensor.is_shape_tensor:
        yield f"{kind} '{tensor.name}' is a shape tensor, which ONNX models do not have"


def _unserved_features(config: Any) -> Iterator[str]:
    dynamic = config.dynamic_batching
    policies = (dynamic.default_queue_policy, *dynamic.priority_queue_policy.values())
    optimization = config.optimization
    groups = config.instance_group
    for present, text in (
        (
            dynamic.preserve_ordering,
            "preserve_ordering is not kept: answers come as they are ready",
        ),
        (
            any(p.timeout_action == pb.ModelQueuePolicy.DELAY for p in policies),
            "timeout_action DELAY is not done: expired requests are rejected",
        ),
        (
            dynamic.priority_queue_policy,
            "priority_queue_policy is not used: one queue policy holds for all levels",
        ),
        (config.response_cache.enable, "response_cache is not used: every request is run"),
        (
            any(tensor.allow_ragged_batch for tensor in config.input),
            "allow_ragged_batch is not done: requests of one shape share a batch",
        ),
        (optimization.HasField("cuda"), "optimization.cuda is not used"),
        (optimization.eager_batching, "optimization.eager_batching is not used"),
        (optimization.priority, "optimization.priority is not used"),
        (any(group.passive for group in groups), "passive instance groups are not made"),
        (any(group.HasField("rate_limiter") for group in groups), "rate_limiter is not used"),
        (
            any(group.gpus or group.profile or group.secondary_devices for group in groups),
            "gpus, profile and secondary_devices are not used",
        ),
        (any(group.host_policy for group in groups), "host_policy is not used"),
        (
            any(key.startswith("memory.") for key in config.parameters),
            "parameters that begin with 'memory.' are not passed on",
        ),
        (config.cc_model_filenames, "cc_model_filenames is not used"),
        (
            config.metric_tags or config.HasField("model_metrics"),
            "metric_tags and model_metrics are not used",
        ),
    ):
        if present:
            yield text
