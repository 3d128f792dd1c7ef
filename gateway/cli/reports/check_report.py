"""What `gateway check` prints about a repository, on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec.structs import asdict

from gateway.cli.reports.protection_report import count, protection_json, protection_text, runs_text
from gateway.cli.reports.repository_check import Examined, ExaminedModel, ExaminedVersion
from gateway.cli.reports.tables import table
from gateway.config.quantities import format_duration
from gateway.core.plan import BatchingPlan, TensorSpec
from gateway.protocol.signature import shape_text


def as_text(examined: Examined, *, measured: bool) -> str:
    """The report for people; `measured`: with the cost curves."""
    blocks = ["\n".join(_model(model, measured=measured)) for model in examined.models]
    warnings = [f"warning: {warning}" for warning in examined.repository.warnings]
    return "\n\n".join([*blocks, *warnings, _summary(examined)])


def as_json(examined: Examined) -> dict[str, Any]:
    """The report for programs."""
    return {
        "root": str(examined.repository.root),
        "models": [_model_json(model) for model in examined.models],
        "warnings": list(examined.repository.warnings),
        "faults": list(examined.faults),
    }


def _summary(examined: Examined) -> str:
    plans = [
        version.plan
        for model in examined.models
        for version in model.versions
        if version.plan is not None
    ]
    models = len({plan.model for plan in plans})
    faults = len(examined.faults)
    skipped = sum(bool(m.found.skipped) for m in examined.models)
    parts = [f"{count(models, 'model')} with {count(len(plans), 'version')} would be served"]
    if skipped:
        parts.append(f"{count(skipped, 'model')} skipped")
    return ", ".join([*parts, count(faults, "fault") if faults else "nothing is at fault"])


def _model(model: ExaminedModel, *, measured: bool) -> Iterator[str]:
    found = model.found
    yield found.name
    if found.skipped:
        yield f"  skipped: {found.skipped}"
    yield from (f"  not served: {fault}" for fault in found.faults)
    idle = [str(version.version) for version in found.versions if version not in found.live]
    if idle and not (found.skipped or found.faults):
        yield (
            f"  version {', '.join(idle)} is not asked for by the version policy, {found.policy!r}"
        )
    warnings = [version.plan.warnings for version in model.versions if version.plan is not None]
    if not warnings:
        yield from (f"  warning: {warning}" for warning in found.warnings)
    for version in model.versions:
        yield f"  version {version.version}"
        yield from (f"    {line}".rstrip() for line in _version(version, measured=measured))


def _version(version: ExaminedVersion, *, measured: bool) -> Iterator[str]:
    plan = version.plan
    if plan is None:
        yield f"not served: {version.fault}"
        return
    facts = [
        ("inputs", _tensors(plan.inputs)),
        ("outputs", _tensors(plan.outputs)),
        ("batching", batching_text(plan.batching)),
        ("because", plan.batching.reason),
        ("runs", runs_text(plan)),
        ("protected", protection_text(plan.protection)),
    ]
    yield from (f"{name:<9} {value}" for name, value in facts if value)
    yield from (f"warning:  {warning}" for warning in plan.warnings)
    if measured:
        yield from ("", *cost_table(version.findings.cost_us, plan.batching).splitlines())


def batching_text(batching: BatchingPlan) -> str:
    """How requests travel together, in one line."""
    limit = batching.max_batch_size
    useful = batching.useful_batch_size
    if limit == 0:
        return "none: each request runs alone"
    if not batching.dynamic:
        return f"none: each request runs alone, of up to {count(limit, 'row')}"
    parts = [
        (
            f"up to {count(limit, 'row')}, of which {useful} "
            f"{'is' if useful == 1 else 'are'} worth putting together"
        )
    ]
    if batching.splits:
        parts.append("larger requests are run in parts")
    if batching.max_queue_delay_s:
        parts.append(f"a batch waits {format_duration(batching.max_queue_delay_s)} for company")
    if batching.preferred_batch_sizes:
        parts.append(f"but not at {_list(batching.preferred_batch_sizes)} rows")
    if batching.pad_to:
        parts.append(f"filled up to {_list(batching.pad_to)} rows")
    return "; ".join(parts)


def cost_table(cost_us: dict[int, float], batching: BatchingPlan) -> str:
    """The cost curve, with what follows from it."""
    if not cost_us:
        return "what a run costs is not known: no trial run succeeded"
    rows = []
    for batch, cost in sorted(cost_us.items()):
        where = "event loop" if batch <= batching.loop_batch_size else "thread"
        rows.append(
            [
                str(batch),
                f"{cost:.1f}",
                f"{cost / batch:.2f}",
                where,
                "<- useful batch" if batch == batching.useful_batch_size else "",
            ]
        )
    return table(("rows", "us", "us per row", "runs in", ""), rows)


def _tensors(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(_tensor(spec) for spec in specs) or "none"


def _tensor(spec: TensorSpec) -> str:
    reshaped = (
        f" (as {shape_text(spec.model_shape)} in the graph)" if spec.model_shape is not None else ""
    )
    labels = f" with {len(spec.labels)} labels" if spec.labels else ""
    return (
        f"{spec.name} {spec.datatype} "
        f"{shape_text(spec.shape)}{reshaped}{labels}{' optional' if spec.optional else ''}"
    )


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _model_json(model: ExaminedModel) -> dict[str, Any]:
    found = model.found
    return {
        "name": found.name,
        "folder": str(found.folder),
        "skipped": found.skipped,
        "faults": list(found.faults),
        "warnings": list(found.warnings),
        "versions": [_version_json(version) for version in model.versions],
    }


def _version_json(version: ExaminedVersion) -> dict[str, Any]:
    plan = version.plan
    if plan is None:
        return {"version": version.version, "fault": version.fault}
    return {
        "version": version.version,
        "fault": "",
        "path": plan.path,
        "inputs": [asdict(spec) for spec in plan.inputs],
        "outputs": [asdict(spec) for spec in plan.outputs],
        "batching": asdict(plan.batching),
        "queue": asdict(plan.queue),
        "session": asdict(plan.session),
        "instances": plan.instances,
        "protection": protection_json(plan.protection),
        "batchable": version.findings.batchable,
        "evidence": version.findings.evidence,
        "cost_us": {str(rows): cost for rows, cost in sorted(version.findings.cost_us.items())},
        "memory_bytes": version.findings.memory_bytes,
        "warnings": list(plan.warnings),
    }
