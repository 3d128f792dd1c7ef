"""From what is configured and what was found out, the plan that a version is served by."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.control.models.configuration.configuration import ModelConfiguration, Queue
from gateway.control.models.configuration.warmup import warmup_batch_sizes, warmup_inputs
from gateway.control.models.planning.batching_plan import plan_batching
from gateway.control.models.planning.model_config import model_config
from gateway.control.models.planning.protection_plan import plan_protection
from gateway.control.models.planning.tensor_specs import BatchAxis, tensor_specs, with_labels
from gateway.control.models.sources.found import FoundModel, FoundVersion
from gateway.core.plan import Findings, QueuePlan, SessionPlan, VersionPlan
from gateway.onnx.model_faults import PlanFault


@dataclass(frozen=True, slots=True)
class PlanDefaults:
    """What holds where a model's configuration says nothing."""

    cores: int = 1
    """Cores that one serving process may use.

    Those of the machine divided by the number of processes, at least 1.
    """
    max_batch_size: int = 64
    """Reported and used for versions that are batched on evidence; 0: none is."""
    queue: QueuePlan = field(default_factory=QueuePlan)


def plan_version(
    model: FoundModel,
    version: FoundVersion,
    findings: Findings,
    *,
    fingerprint: str,
    defaults: PlanDefaults,
) -> VersionPlan:
    """How the version is to be served.

    Raises `PlanFault` where it cannot be, or not as it is configured.
    """
    if findings.error or version.fault:
        raise PlanFault(findings.error or version.fault)
    configuration = model.configuration
    graph_inputs, batching, warnings = plan_batching(
        configuration, findings, defaults.max_batch_size
    )
    axis = BatchAxis(batching.max_batch_size > 0, configuration.batching.max_batch_size)
    inputs, faults = tensor_specs(graph_inputs, configuration.inputs, axis, "input")
    outputs, more_faults = tensor_specs(findings.outputs, configuration.outputs, axis, "output")
    if faults or more_faults:
        raise PlanFault("; ".join((*faults, *more_faults)))
    outputs, label_files, label_warnings = with_labels(
        outputs, configuration.outputs, model.sidecars.labels
    )
    instances = plan_instances(configuration, defaults.cores)
    session = plan_session(configuration, defaults.cores)
    queue = plan_queue(configuration.queue, defaults.queue)
    protection, protection_warnings = plan_protection(
        model, version.version, outputs, batched=axis.batched, instances=instances
    )
    # the event loop runs what threads would
    if protection.workers is not None or not protection.local:
        batching = replace(batching, loop_batch_size=0)
    config = model_config(
        model.name, configuration, inputs=inputs, outputs=outputs, batching=batching, queue=queue,
        session=session, instances=instances, label_files=label_files,
    )  # fmt: skip
    return VersionPlan(
        model=model.name,
        version=version.version,
        path=str(version.path),
        fingerprint=fingerprint,
        inputs=inputs,
        outputs=outputs,
        batching=batching,
        queue=queue,
        session=session,
        instances=instances,
        protection=protection,
        cost_us=tuple(sorted(findings.cost_us.items())),
        warmup_batch_sizes=warmup_batch_sizes(batching, findings),
        warmup_inputs=warmup_inputs(
            configuration.warmup or (), inputs, model.sidecars.warmup_files, batched=axis.batched
        ),
        reference=model.sidecars.reference,
        model_config=config.SerializeToString(deterministic=True),
        warnings=(
            *model.warnings,
            *findings.warnings,
            *warnings,
            *label_warnings,
            *protection_warnings,
        ),
    )


def plan_session(configuration: ModelConfiguration, cores: int) -> SessionPlan:
    """How ONNX Runtime opens the model in a process with so many cores.

    A run has one thread, its caller's, because as many instances as cores fill the machine already;
    where fewer instances are configured each run gets its share of the cores. `intra_op_threads`
    overrides the rule.
    """
    configured = configuration.session
    plan = SessionPlan()
    instances = _configured_instances(configuration)
    share = max(cores // instances, 1) if instances else 1
    return SessionPlan(
        providers=configured.providers or plan.providers,
        intra_op_threads=_threads(configured.intra_op_threads, cores, share),
        inter_op_threads=_threads(configured.inter_op_threads, cores, 1),
        spinning=bool(configured.spinning),
        parallel=configured.execution_mode == "parallel",
        graph_optimization=configured.graph_optimization or plan.graph_optimization,
        memory_arena=configured.memory_arena is not False,
        memory_pattern=configured.memory_pattern is not False,
        options=tuple(sorted((configured.options or {}).items())),
    )


def plan_instances(configuration: ModelConfiguration, cores: int) -> int:
    """Runs of one version at the same time in a process with so many cores.

    As configured, else one a core.
    """
    return _configured_instances(configuration) or max(cores, 1)


def _configured_instances(configuration: ModelConfiguration) -> int | None:
    """A worker process runs one batch at a time, so that both give their number."""
    return configuration.instances or (
        configuration.workers.count if configuration.workers else None
    )


def plan_queue(configured: Queue, defaults: QueuePlan) -> QueuePlan:
    """How requests wait: as configured, else as the defaults have it."""
    return QueuePlan(
        max_requests=defaults.max_requests
        if configured.max_requests is None
        else configured.max_requests,
        max_bytes=defaults.max_bytes if configured.max_bytes is None else int(configured.max_bytes),
        default_timeout_s=defaults.default_timeout_s
        if configured.default_timeout_s is None
        else float(configured.default_timeout_s),
        allow_timeout_override=defaults.allow_timeout_override
        if configured.allow_timeout_override is None
        else configured.allow_timeout_override,
        priority_levels=defaults.priority_levels
        if configured.priority_levels is None
        else configured.priority_levels,
        default_priority=defaults.default_priority
        if configured.default_priority is None
        else configured.default_priority,
    )


def _threads(configured: int | None, cores: int, otherwise: int) -> int:
    return otherwise if configured is None else configured or max(cores, 1)
