"""How requests of one model travel together, wait, and run, as far as it is configured.

Read in the main process. A field is None where nothing was said. `model.yaml` writes these structs
as they stand here (a duration as a text with its unit, under the name without `_s`; a size
likewise); `config.pbtxt` is translated into them. What each key means, and what holds where it is
left out, stands in its `Option`, from which the tables of the README are made; `PLAN` is what a
section comes to, whose fields of the same names give the defaults that no `Option` says.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gateway.config.option import Option
from gateway.config.quantities import ByteSize, Duration
from gateway.control.models.configuration.bounded_values import NotNegative, Positive, Text
from gateway.core.plan import BatchingPlan, QueuePlan, SessionPlan


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """How requests travel together."""

    PLAN: ClassVar = BatchingPlan
    max_batch_size: Annotated[
        NotNegative | None,
        Option(
            "rows in a run at most, and in a request (more are refused); 0: no batch axis, each "
            "request runs alone",
            default="found out by trial runs; then 64 (`default_max_batch_size`), and larger "
            "requests are split",
        ),
    ] = None
    dynamic: Annotated[
        bool | None,
        Option(
            "requests of different callers share a run; false: each runs alone, of up to "
            "max_batch_size rows"
        ),
    ] = None
    max_queue_delay_s: Annotated[
        Duration | None,
        Option("how long a batch waits for company though a worker is free; 0s: not at all"),
    ] = msgspec.field(default=None, name="max_queue_delay")
    preferred_batch_sizes: Annotated[
        tuple[Positive, ...] | None,
        Option(
            "rows; a batch of one of these sizes does not wait out the delay",
            default="only a full batch does not",
        ),
    ] = None
    pad_to: Annotated[
        tuple[Positive, ...] | None,
        Option(
            "rows, ascending; a batch is filled up to the next of these sizes, for models that "
            "are slow on sizes they have not met",
            default="no padding",
        ),
    ] = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """How requests wait for a worker."""

    PLAN: ClassVar = QueuePlan
    max_requests: Annotated[
        Positive | None, Option("requests that may wait; one more is refused; at least 1")
    ] = None
    max_bytes: Annotated[
        ByteSize | None,
        Option(
            "input that may wait, a size; more is refused (a lone request is always let in); at "
            "least 1B"
        ),
    ] = None
    default_timeout_s: Annotated[
        Duration | None,
        Option("longest wait of a request; 0s: without end"),
    ] = msgspec.field(default=None, name="default_timeout")
    allow_timeout_override: Annotated[
        bool | None,
        Option(
            "a request's own parameter `timeout`, microseconds, counts where it is shorter; false: "
            "it is ignored, as by Triton (the call's gRPC deadline always counts)"
        ),
    ] = None
    priority_levels: Annotated[
        NotNegative | None,
        Option(
            "levels that a request may ask for by `priority`, 1 being served first; 0: one "
            "level, `priority` is ignored; at most 1000"
        ),
    ] = None
    default_priority: Annotated[
        NotNegative | None, Option("level of a request that asks for none; 0: the last")
    ] = None


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How ONNX Runtime opens and runs the model."""

    PLAN: ClassVar = SessionPlan
    providers: Annotated[
        Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)] | None,
        Option(
            "ONNX Runtime's execution providers by name, first choice first",
            default="`CPUExecutionProvider`",
        ),
    ] = None
    intra_op_threads: Annotated[
        NotNegative | None,
        Option("threads inside one run; 0: the cores of the process", default="see below"),
    ] = None
    inter_op_threads: Annotated[
        NotNegative | None,
        Option(
            "threads for branches of the graph, under `execution_mode: parallel`; 0: the cores "
            "of the process"
        ),
    ] = None
    spinning: Annotated[
        bool | None, Option("idle intra-op threads spin: quicker alone, ruinous beside others")
    ] = None
    execution_mode: Annotated[
        Literal["sequential", "parallel"] | None,
        Option(
            "`sequential`, or `parallel`: branches of the graph side by side",
            default="`sequential`",
        ),
    ] = None
    graph_optimization: Annotated[
        Literal["all", "extended", "basic", "disabled"] | None,
        Option("how far the graph is rewritten first: `all`, `extended`, `basic`, `disabled`"),
    ] = None
    memory_arena: Annotated[bool | None, Option("memory of a run is kept for the next")] = None
    memory_pattern: Annotated[
        bool | None, Option("memory is laid out after the first run's shapes")
    ] = None
    options: Annotated[
        dict[str, str] | None,
        Option(
            "configuration entries of ONNX Runtime, passed on by name; the values are texts; those "
            "that it takes with each run (`memory.enable_memory_arena_shrinkage: cpu:0`) go there",
            default="none",
        ),
    ] = None
