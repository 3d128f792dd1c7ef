"""How one model is meant to be served, as far as it is configured.

A field is None where it is not configured; its docstring then says what holds. `model.yaml` writes
these structs as they stand here (a duration as a text with its unit, under the name without `_s`; a
size likewise); `config.pbtxt` is translated into them.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from gateway.config.quantities import ByteSize, Duration
from gateway.control.models.configuration.protection_configuration import Protections
from gateway.control.models.configuration.protection_faults import protection_faults
from gateway.control.models.sources.version_policy import VersionPolicy

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Size = Annotated[int, msgspec.Meta(ge=-1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16",
    "FP32", "FP64", "BF16", "BYTES"
]  # fmt: skip

_MOST_PRIORITY_LEVELS = 1000


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How requests travel together."""

    max_batch_size: NotNegative | None = None
    """Rows in a run at most, and in a request; 0: no batch axis, each request runs alone.

    None: found out when the version is inspected.
    """
    dynamic: bool | None = None
    """Requests of different callers share a run.

    False: each runs alone, of up to max_batch_size rows. None: true.
    """
    max_queue_delay_s: Duration | None = msgspec.field(default=None, name="max_queue_delay")
    """How long a batch waits for company though a worker is free; 0s and None: not at all."""
    preferred_batch_sizes: tuple[Positive, ...] | None = None
    """Rows; a batch of one of these sizes does not wait out the delay.

    None: only a full one does not.
    """
    pad_to: tuple[Positive, ...] | None = None
    """Rows, ascending.

    A batch is filled up to the next of these sizes, for models slow on sizes
    they have not met. None: never.
    """


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """How requests wait for a worker."""

    max_requests: Positive | None = None
    """Requests that may wait; one more is refused. None: 4096.

    There is no endless queue, so 0 is refused.
    """
    max_bytes: ByteSize | None = None
    """Input that may wait, as a size with its unit; more is refused. None: 512MiB. Not 0B."""
    default_timeout_s: Duration | None = msgspec.field(default=None, name="default_timeout")
    """Longest wait of a request that names no `timeout`; 0s and None: without end."""
    allow_timeout_override: bool | None = None
    """A request's own `timeout` counts. None: true."""
    priority_levels: NotNegative | None = None
    """Levels that a request may ask for by `priority`, 1 being served first; at most 1000.

    0 and None: one level, `priority` is ignored.
    """
    default_priority: NotNegative | None = None
    """Level of a request that asks for none; 0 and None: the last."""


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How ONNX Runtime opens and runs the model."""

    providers: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] | None = None
    """Execution providers by ONNX Runtime's names, first choice first.

    None: CPUExecutionProvider.
    """
    intra_op_threads: NotNegative | None = None
    """Threads inside one run; 0: as many as the process has cores.

    None: cores divided by instances (1 unless instances are fewer).
    """
    inter_op_threads: NotNegative | None = None
    """Threads for branches of the graph, under execution_mode parallel.

    0: as many as the process has cores. None: 1.
    """
    spinning: bool | None = None
    """Idle intra-op threads spin: quicker alone, ruinous beside others. None: false."""
    execution_mode: Literal["sequential", "parallel"] | None = None
    """`parallel` runs branches of the graph side by side. None: sequential."""
    graph_optimization: Literal["all", "extended", "basic", "disabled"] | None = None
    """How far ONNX Runtime rewrites the graph before it runs it. None: all."""
    memory_arena: bool | None = None
    """Memory of a run is kept for the next. None: true."""
    memory_pattern: bool | None = None
    """Memory is laid out after the first run's shapes. None: true."""
    options: dict[str, str] | None = None
    """Session configuration entries, passed on by name. None: none."""


class TensorConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one input or output; what is not configured comes from the graph."""

    name: Text
    """The tensor's name in the graph."""
    datatype: Datatype | None = None
    """The protocol's name of its type. Another one than the graph's is a fault.

    None: the graph's.
    """
    shape: tuple[Size, ...] | None = None
    """Sizes as callers see them, without the batch axis where the model batches; -1 is free.

    None: the graph's.
    """
    reshape: tuple[Size, ...] | None = None
    """Sizes as the graph sees them where they differ from `shape`, of as many elements.

    Without the batch axis. None: no difference.
    """
    optional: bool | None = None
    """Inputs only; true: a request may leave it out (the graph must have an initialiser for it).

    False: it must not. None: the graph's.
    """
    format: Literal["NHWC", "NCHW"] | None = None
    """Inputs only; axis order of an image, sent to clients and otherwise without effect.

    None: not set.
    """
    labels: Text | None = None
    """Outputs only; file in the model's folder with one class name a line, for `classification`.

    None: labels.txt where it fits.
    """


class WarmupTensor(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a warm-up request."""

    datatype: Datatype | None = None
    """None: the input's."""
    shape: tuple[NotNegative, ...] | None = None
    """Sizes without the batch axis. None: the input's, which then must not have a free one."""
    data: Literal["zero", "random"] | None = None
    """What it is filled with (strings: empty ones, either way). None: zero."""
    file: Text | None = None
    """File in the model's `warmup` folder with the raw bytes of one row, repeated for each row.

    None: `data` says.
    """


class WarmupRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up request that runs before the version is live."""

    name: str = ""
    """Shown when it fails."""
    batch_size: Positive = 1
    """Rows."""
    count: Positive = 1
    """Times it runs."""
    inputs: dict[str, WarmupTensor] = {}
    """By the input's name."""


class ModelConfiguration(Protections, frozen=True, kw_only=True):
    """The configuration of one model; how it is protected stands in `Protections`."""

    batching: Batching = Batching()
    queue: Queue = Queue()
    instances: Positive | None = None
    """Batches of one version that run at the same time in one process, at most.

    None: as many as the process has cores.
    """
    versions: VersionPolicy | None = None
    """`latest`, `latest N`, `all`, or a list. None: latest 1."""
    model_filename: Text | None = None
    """The model file inside a version's folder, which it cannot leave. None: model.onnx."""
    inputs: tuple[TensorConfiguration, ...] = ()
    outputs: tuple[TensorConfiguration, ...] = ()
    session: SessionOptions = SessionOptions()
    warmup: tuple[WarmupRequest, ...] | None = None
    """Requests run before a version is live, besides one of each batch size. None: none."""
    reference: Text | None = None
    """File in the model's folder that trial inputs are taken from. None: reference.npz.

    It is an .npz with one array for each input, rows first.
    """
    metadata: dict[str, str] | None = None
    """Words of your own, shown as `parameters` by ModelConfig. None: none."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of one configuration file."""

    configuration: ModelConfiguration = ModelConfiguration()
    implied: ModelConfiguration = ModelConfiguration()
    """What follows where a key is missing; it yields to what another file sets."""
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    skipped: str = ""
    """Why the model is of a kind that is not served; empty where it is."""


def contradictions(configuration: ModelConfiguration) -> Iterator[str]:
    """What cannot hold together in the configuration, one sentence each."""
    batching = configuration.batching
    queue = configuration.queue
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
    for kind, tensors in (("inputs", configuration.inputs), ("outputs", configuration.outputs)):
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
    for i, request in enumerate(configuration.warmup or ()):
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
    yield from protection_faults(
        configuration, instances=configuration.instances, priority_levels=queue.priority_levels or 0
    )
