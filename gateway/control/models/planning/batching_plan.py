"""Whether requests of a version are run together, and how many; decided in the control process.

There are two cases. A configured `max_batch_size` is its user's decision and wins. Without it a
version is batched only on evidence that batching never changes an answer: every input and output
has a free first axis, and trial rows were answered together as they were apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.execution_configuration import Batching
from gateway.control.models.planning.cost_curve import loop_batch_size, useful_batch_size
from gateway.control.models.planning.given_values import given_values
from gateway.control.models.planning.tensor_specs import free_sizes
from gateway.core.plan import BatchingPlan, Findings, GraphTensor
from gateway.onnx.model_faults import PlanFault


def plan_batching(
    configuration: ModelConfiguration, findings: Findings, default_max_batch_size: int
) -> tuple[tuple[GraphTensor, ...], BatchingPlan, tuple[str, ...]]:
    """The inputs that callers may send, how they are batched, and warnings; raises `PlanFault`."""
    configured = configuration.batching
    if configured.max_batch_size is None:
        return findings.inputs, *_on_evidence(configured, findings, default_max_batch_size)
    stray = _without_batch_axis(tensor for tensor in findings.inputs if tensor.optional)
    if configured.max_batch_size == 0 or not stray:
        return findings.inputs, *_configured(configured, configured.max_batch_size, findings)
    if named := [tensor.name for tensor in configuration.inputs if tensor.name in stray]:
        raise PlanFault(
            f"input {', '.join(named)} is configured, but has no batch axis and cannot be sent to "
            "a version with max_batch_size"
        )
    batching, warnings = _configured(configured, configured.max_batch_size, findings)
    kept = tuple(tensor for tensor in findings.inputs if tensor.name not in stray)
    left_out = (
        f"input {', '.join(stray)} keeps the graph's own value, because it has no batch axis "
        "and max_batch_size is configured"
    )
    return kept, batching, (*warnings, left_out)


def _configured(
    configured: Batching, limit: int, findings: Findings
) -> tuple[BatchingPlan, tuple[str, ...]]:
    if limit == 0:
        return _not_batched(
            configured,
            findings,
            "max_batch_size is configured as 0, or shapes are and no max_batch_size",
        )
    plan = _with_settings(
        configured,
        BatchingPlan(max_batch_size=limit, reason=f"max_batch_size {limit} is configured"),
        findings,
    )
    if not plan.dynamic:
        plan = replace(
            plan, reason=f"{plan.reason}, dynamic batching is not: each request runs alone"
        )
    if _has_fixed_axis(limit, findings):  # a run has so many rows in any case
        plan = replace(plan, pad_to=(limit,), useful_batch_size=limit if plan.dynamic else 1)
    return plan, tuple(_configured_warnings(configured, plan, findings))


def _configured_warnings(
    configured: Batching, plan: BatchingPlan, findings: Findings
) -> Iterator[str]:
    if plan.max_batch_size > 1 and not findings.batchable:
        yield (
            f"max_batch_size {plan.max_batch_size} is configured, although "
            f"{findings.evidence or 'no evidence speaks for it'}"
        )
    if not plan.dynamic and (configured.max_queue_delay_s or configured.preferred_batch_sizes):
        yield "max_queue_delay and preferred_batch_sizes have no effect without dynamic batching"


def _has_fixed_axis(limit: int, findings: Findings) -> bool:
    """Whether the graph itself has batches of exactly `limit` rows."""
    return limit > 1 and any(
        free_sizes(tensor)[:1] == (limit,)
        for tensor in (*findings.inputs, *findings.outputs)
        if not tensor.optional
    )


def _on_evidence(
    configured: Batching, findings: Findings, limit: int
) -> tuple[BatchingPlan, tuple[str, ...]]:
    if not findings.batchable:
        return _not_batched(
            configured,
            findings,
            findings.evidence
            or "nothing shows that rows run together are answered as they are apart",
        )
    if stray := _without_batch_axis((*findings.inputs, *findings.outputs)):
        return _not_batched(configured, findings, f"{', '.join(stray)} has no free first axis")
    if limit == 0 or not findings.inputs:
        return _not_batched(
            configured,
            findings,
            "batching on evidence is turned off" if findings.inputs else "there are no inputs",
        )
    plan = BatchingPlan(
        max_batch_size=limit,
        splits=True,
        reason=findings.evidence or "rows run together are answered as they are apart",
    )
    return _with_settings(configured, plan, findings), ()


def _not_batched(
    configured: Batching, findings: Findings, why: str
) -> tuple[BatchingPlan, tuple[str, ...]]:
    plan = BatchingPlan(
        loop_batch_size=loop_batch_size(findings.cost_us, 0), reason=f"not batched: {why}"
    )
    if (
        configured.dynamic
        or configured.max_queue_delay_s
        or configured.preferred_batch_sizes
        or configured.pad_to
    ):
        return plan, (
            "the other settings of batching have no effect, because the version is not batched",
        )
    return plan, ()


def _with_settings(configured: Batching, plan: BatchingPlan, findings: Findings) -> BatchingPlan:
    limit = plan.max_batch_size
    largest = max(
        (*(configured.pad_to or ()), *(configured.preferred_batch_sizes or ())), default=0
    )
    if largest > limit:
        raise PlanFault(
            f"batching names the size {largest}, but a batch has at most {limit} "
            "rows: configure max_batch_size"
        )
    plan = replace(
        plan,
        loop_batch_size=loop_batch_size(findings.cost_us, limit),
        **given_values(configured, "max_batch_size"),
    )
    if not plan.dynamic:  # nothing is waited for
        return replace(plan, useful_batch_size=1, max_queue_delay_s=0.0, preferred_batch_sizes=())
    return replace(
        plan,
        useful_batch_size=useful_batch_size(findings.cost_us, limit),
        preferred_batch_sizes=tuple(sorted(plan.preferred_batch_sizes)),
    )


def _without_batch_axis(tensors: Iterable[GraphTensor]) -> tuple[str, ...]:
    """The names of tensors without a free first axis: one value would hold for a whole batch."""
    return tuple(tensor.name for tensor in tensors if free_sizes(tensor)[:1] != (-1,))
