"""What cannot hold together in the configuration of a model, as the main process finds it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.execution_configuration import Batching, Queue
from gateway.control.models.configuration.protection_faults import protection_faults
from gateway.control.models.configuration.tensor_configuration import (
    TensorConfiguration,
    WarmupRequest,
)

_MOST_PRIORITY_LEVELS = 1000


def contradictions(configuration: ModelConfiguration) -> Iterator[str]:
    """What cannot hold together in the configuration, one sentence each."""
    yield from _queue(configuration.queue)
    yield from _batching(configuration.batching)
    for kind, tensors in (("inputs", configuration.inputs), ("outputs", configuration.outputs)):
        yield from _tensors(kind, tensors)
    yield from _sides(configuration)
    yield from _warmup(configuration.warmup or (), configuration.batching.max_batch_size)
    yield from protection_faults(
        configuration,
        instances=configuration.instances,
        priority_levels=configuration.queue.priority_levels or 0,
    )


def _queue(queue: Queue) -> Iterator[str]:
    if queue.max_bytes is not None and queue.max_bytes < 1:
        yield "queue.max_bytes must not be 0: there is no endless queue"
    if (queue.priority_levels or 0) > _MOST_PRIORITY_LEVELS:
        yield (
            f"queue.priority_levels is {queue.priority_levels}, at most "
            f"{_MOST_PRIORITY_LEVELS} are kept apart"
        )
    if (queue.default_priority or 0) > (queue.priority_levels or 0):
        yield (
            f"queue.default_priority {queue.default_priority} is not one of queue.priority_levels "
            f"{queue.priority_levels or 0}"
        )


def _batching(batching: Batching) -> Iterator[str]:
    limit = batching.max_batch_size
    for key, sizes in (
        ("preferred_batch_sizes", batching.preferred_batch_sizes),
        ("pad_to", batching.pad_to),
    ):
        if limit is not None and sizes and max(sizes) > limit:
            yield (
                f"batching.{key} has {max(sizes)}, which is more than "
                f"batching.max_batch_size {limit}"
            )
    if batching.pad_to and any(a >= b for a, b in itertools.pairwise(batching.pad_to)):
        yield f"batching.pad_to must ascend, got {list(batching.pad_to)}"


def _tensors(kind: str, tensors: Sequence[TensorConfiguration]) -> Iterator[str]:
    yield from (
        f"{kind}: '{name}' is listed {n} times"
        for name, n in Counter(t.name for t in tensors).items()
        if n > 1
    )
    yield from (
        f"{kind}: '{t.name}' has a reshape but no shape"
        for t in tensors
        if t.reshape is not None and t.shape is None
    )


def _sides(configuration: ModelConfiguration) -> Iterator[str]:
    """Configuration of inputs that only outputs can have, and the other way round."""
    yield from (
        f"inputs: '{t.name}' has labels, which only outputs have"
        for t in configuration.inputs
        if t.labels
    )
    yield from (
        f"outputs: '{t.name}' has a format, which only inputs have"
        for t in configuration.outputs
        if t.format
    )
    yield from (
        f"outputs: '{t.name}' is configured as optional or not, which only inputs are"
        for t in configuration.outputs
        if t.optional is not None
    )


def _warmup(requests: Sequence[WarmupRequest], limit: int | None) -> Iterator[str]:
    for i, request in enumerate(requests):
        if limit is not None and request.batch_size > max(limit, 1):
            yield (
                f"warmup[{i}].batch_size {request.batch_size} is more than "
                f"batching.max_batch_size {limit}"
            )
        yield from (
            f"warmup[{i}].inputs.{name}: give data or file, not both"
            for name, t in request.inputs.items()
            if t.data is not None and t.file is not None
        )
