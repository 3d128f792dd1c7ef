"""What the main process finds in a Triton configuration that cannot be as it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def triton_faults(config: Any) -> Iterator[str]:
    """One sentence for each fault in an `inference.ModelConfig`, whatever the model is like."""
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
