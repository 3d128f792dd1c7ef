"""How a Triton configuration has ONNX Runtime run a model, in our own words.

Read in the main process: parameters, the graph's optimization, execution accelerators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from gateway.control.models.configuration.execution_configuration import SessionOptions
from gateway.onnx.run_entries import is_run_entry
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


def session_options(
    config: Any, available_providers: Sequence[str], warnings: list[str]
) -> SessionOptions:
    """The session that the configuration asks for; `warnings` gets what it cannot have."""
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
        options={key: value for key, value in sorted(texts.items()) if _is_option(key)} or None,
    )


def is_session_parameter(key: str) -> bool:
    """Whether a parameter is meant for ONNX Runtime, and no word of the model's own."""
    return key in _ONNX_RUNTIME_PARAMETERS or _is_option(key) or key.startswith("memory.")


def _is_option(key: str) -> bool:
    return key.startswith(_OPTION_PREFIXES) or is_run_entry(key)


def _providers(
    config: Any, available: Sequence[str], warnings: list[str]
) -> tuple[str, ...] | None:
    """The execution providers that are wanted and installed, then the CPU; None: none is wanted."""
    wanted = list(_wanted_providers(config))
    warnings.extend(
        f"parameters of the execution accelerator '{accelerator.name}' are not passed on"
        for accelerator in _accelerators(config)
        if accelerator.parameters
    )
    warnings.extend(
        f"{what} is not used, because the installed ONNX Runtime has no "
        f"{name}; the model runs on CPU"
        for what, name in wanted
        if name not in available
    )
    there = dict.fromkeys(name for _, name in wanted if name in available)
    return (*there, _CPU) if there else None


def _wanted_providers(config: Any) -> Iterator[tuple[str, str]]:
    """What asks for an execution provider, and the provider's name."""
    for accelerator in _accelerators(config):
        provider = _ACCELERATORS.get(accelerator.name, accelerator.name)
        yield f"the execution accelerator '{accelerator.name}'", provider
    if any(group.kind == pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group):
        yield "KIND_GPU", _CUDA


def _accelerators(config: Any) -> Iterator[Any]:
    accelerators = config.optimization.execution_accelerators
    yield from accelerators.gpu_execution_accelerator
    yield from accelerators.cpu_execution_accelerator


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
