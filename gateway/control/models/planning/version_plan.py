"""The plan that a version is served by, made in the control process.

It follows from what is configured and from what inspection found out.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.configuration.execution_configuration import Queue
from gateway.control.models.configuration.warmup import warmup_batch_sizes, warmup_inputs
from gateway.control.models.planning.batching_plan import plan_batching
from gateway.control.models.planning.given_values import given_values
from gateway.control.models.planning.model_config import model_config
from gateway.control.models.planning.protection_plan import plan_protection
from gateway.control.models.planning.tensor_names import noted_labels, with_columns, with_labels
from gateway.control.models.planning.tensor_specs import BatchAxis, tensor_specs
from gateway.control.models.sources.found import FoundModel, FoundVersion
from gateway.core.plan import (
    BatchingPlan,
    Findings,
    QueuePlan,
    SessionPlan,
    TensorSpec,
    VersionPlan,
    WarmupInput,
)
from gateway.core.protection import ProtectionPlan
from gateway.onnx.model_faults import PlanFault


class PlanDefaults(msgspec.Struct, frozen=True):
    """Values for what a model's configuration leaves open."""

    cores: int = 1
    """Cores that one serving process may use, at least 1: the machine's, by the process count."""
    max_batch_size: int = 64
    """Reported and used for versions that are batched on evidence; 0: none is."""
    queue: QueuePlan = msgspec.field(default_factory=QueuePlan)


class _Signature(msgspec.Struct, frozen=True):
    """What callers send and receive, and how their requests are batched."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    label_files: dict[str, str]
    batching: BatchingPlan
    warnings: tuple[str, ...]

    @property
    def batched(self) -> bool:
        return self.batching.max_batch_size > 0


def plan_version(
    model: FoundModel,
    version: FoundVersion,
    findings: Findings,
    *,
    fingerprint: str,
    defaults: PlanDefaults,
) -> VersionPlan:
    """The plan of the version.

    Raises `PlanFault` where it cannot be served, or not as it is configured.
    """
    configuration = model.configuration
    signature = _signature(model, version, findings, defaults)
    protection, warnings = _protection(model, version, signature, defaults)
    batching = _batching(signature, protection)
    plan = VersionPlan(
        model.name, version.version, str(version.path), fingerprint, signature.inputs,
        signature.outputs, batching, plan_queue(configuration.queue, defaults.queue),
        session=_session(configuration, findings, defaults.cores),
        instances=plan_instances(configuration, defaults.cores), protection=protection,
        cost_us=tuple(sorted(findings.cost_us.items())),
        allow_interface_change=bool(configuration.allow_interface_change),
        warmup_batch_sizes=warmup_batch_sizes(batching, findings),
        warmup_inputs=_warmup_inputs(model, signature), reference=model.sidecars.reference,
        warnings=(*model.warnings, *findings.warnings, *signature.warnings, *warnings),
    )  # fmt: skip
    config = model_config(plan, configuration, signature.label_files)
    return replace(plan, model_config=config.SerializeToString(deterministic=True))


def _protection(
    model: FoundModel, version: FoundVersion, signature: _Signature, defaults: PlanDefaults
) -> tuple[ProtectionPlan, tuple[str, ...]]:
    return plan_protection(
        model,
        version.version,
        signature.outputs,
        batched=signature.batched,
        instances=plan_instances(model.configuration, defaults.cores),
    )


def _batching(signature: _Signature, protection: ProtectionPlan) -> BatchingPlan:
    """How requests are batched.

    The event loop runs small batches itself only where threads would run the others.
    """
    if protection.workers is not None or not protection.local:
        return replace(signature.batching, loop_batch_size=0)
    return signature.batching


def _signature(
    model: FoundModel, version: FoundVersion, findings: Findings, defaults: PlanDefaults
) -> _Signature:
    """The inputs, outputs and batching of the version.

    Raises `PlanFault` with all that the graph and the configuration disagree on.
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
    sidecars = model.sidecars
    inputs, column_warnings = with_columns(inputs, sidecars.columns, findings.columns)
    outputs, label_files, label_warnings = with_labels(
        outputs,
        configuration.outputs,
        sidecars.labels,
        noted_labels(outputs, sidecars.noted_labels) or findings.labels,
    )
    return _Signature(
        inputs, outputs, label_files, batching, (*warnings, *column_warnings, *label_warnings)
    )


def _warmup_inputs(model: FoundModel, signature: _Signature) -> tuple[tuple[WarmupInput, ...], ...]:
    requests = model.configuration.warmup or ()
    files = model.sidecars.warmup_files
    return warmup_inputs(requests, signature.inputs, files, batched=signature.batched)


def _session(configuration: ModelConfiguration, findings: Findings, cores: int) -> SessionPlan:
    return replace(plan_session(configuration, cores), cut_zipmap=findings.cut_zipmap)


def plan_session(configuration: ModelConfiguration, cores: int) -> SessionPlan:
    """How ONNX Runtime opens the model in a process with so many cores.

    A run has one thread, its caller's, because as many instances as cores fill the machine already;
    where fewer instances are configured each run gets its share of the cores. `intra_op_threads`
    overrides the rule.
    """
    configured = configuration.session
    instances = _configured_instances(configuration)
    share = max(cores // instances, 1) if instances else 1
    return replace(
        SessionPlan(),
        **given_values(
            configured, "intra_op_threads", "inter_op_threads", "execution_mode", "options"
        ),
        intra_op_threads=_threads(configured.intra_op_threads, cores, share),
        inter_op_threads=_threads(configured.inter_op_threads, cores, 1),
        parallel=configured.execution_mode == "parallel",
        options=tuple(sorted((configured.options or {}).items())),
    )


def plan_instances(configuration: ModelConfiguration, cores: int) -> int:
    """Runs of one version at the same time in a process: as configured, else one for each core."""
    return _configured_instances(configuration) or max(cores, 1)


def _configured_instances(configuration: ModelConfiguration) -> int | None:
    """The configured number of instances, or of worker processes: each runs one batch at a time."""
    if configuration.instances:
        return configuration.instances
    return configuration.workers.count if configuration.workers else None


def plan_queue(configured: Queue, defaults: QueuePlan) -> QueuePlan:
    """How requests wait: as configured, else as the defaults have it."""
    return replace(defaults, **given_values(configured))


def _threads(configured: int | None, cores: int, otherwise: int) -> int:
    return otherwise if configured is None else configured or max(cores, 1)
