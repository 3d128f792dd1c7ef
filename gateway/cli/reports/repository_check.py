"""A repository, examined by the command line as `gateway serve` would: scanned and planned.

Models are inspected in inspection processes; nothing is served.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from gateway.cli.command_errors import CommandError
from gateway.cli.options.path_arguments import model_paths
from gateway.cli.parser import nearest
from gateway.cli.reports.interface_warning import interface_warning, predecessor
from gateway.config.control import SourceOptions
from gateway.config.serving_options import ModelDefaults
from gateway.control.models.sources.folder_source import FolderSource, installed_providers
from gateway.control.models.sources.found import FoundModel, Repository
from gateway.control.models.sources.model_paths import merged, scan_paths
from gateway.control.models.sources.source import CannotPlan, SourceModel
from gateway.control.processes.process_count import choose_processes_here, usable_cores
from gateway.core.plan import Findings, VersionPlan
from gateway.onnx.model_faults import RepositoryFault
from gateway.protocol.signature import shape_text

_PROGRESS_S = 1.0  # what is quicker needs no progress


class ExaminedVersion(msgspec.Struct, frozen=True):
    """What became of one version that is to be live."""

    version: int
    findings: Findings = msgspec.field(default_factory=Findings)
    plan: VersionPlan | None = None
    """None: it cannot be served, see `fault`."""
    fault: str = ""


class ExaminedModel(msgspec.Struct, frozen=True):
    """One model and those of its versions that are to be live."""

    found: FoundModel
    versions: tuple[ExaminedVersion, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that keeps it, or a version of it, from being served, with its name."""
        name = self.found.name
        bad = [
            f"{name} version {version.version}: {version.fault}"
            for version in self.versions
            if version.fault
        ]
        return (*(f"{name}: {fault}" for fault in self.found.faults), *bad)


class Examined(msgspec.Struct, frozen=True):
    """A repository and its models."""

    repository: Repository
    models: tuple[ExaminedModel, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything that may be meant otherwise, a sentence each."""
        of_versions = [
            f"{plan.model} version {plan.version}: {warning}"
            for model in self.models
            for plan in (version.plan for version in model.versions)
            if plan is not None
            for warning in plan.warnings
        ]
        return (*self.repository.warnings, *of_versions)

    @property
    def faults(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each."""
        of_all = (self.repository.fault,) if self.repository.fault else ()
        return (*of_all, *(fault for model in self.models for fault in model.faults))


def examine(
    paths: Sequence[str], name: str | None = None, cache_dir: str | None = None
) -> Examined:
    """Examines every model of the paths, with progress on stderr where that takes long.

    Raises `CommandError` where one of them is not there.
    """
    faults: list[str] = []
    named = model_paths(paths, name or "", faults)
    if faults:
        raise CommandError(faults)
    repository = merged(scan_paths(named, installed_providers()))
    processes = choose_processes_here([path.path for path in named]).processes
    cores = max(1, usable_cores() // processes)
    options = SourceOptions(paths=named, cache_dir=cache_dir or "")
    models = asyncio.run(_examine_models(repository, _Source(options, ModelDefaults(), cores)))
    # the others of one that stands alone are beside it, and were not examined
    if not any(model.found.alone for model in models):
        models = tuple(
            _with_warnings(model, list(fallback_warnings(model, models))) for model in models
        )
    return Examined(repository, models)


def fallback_warnings(model: ExaminedModel, models: Sequence[ExaminedModel]) -> Iterator[str]:
    """What keeps the model's fallbacks on other models from answering, a sentence each.

    Its plan does not say, for a model is planned without the others, which may come later.
    """
    mine = _newest_plan(model)
    for i, link in enumerate(model.found.configuration.fallback or ()):
        if link.model is None or mine is None:
            continue
        key = f"fallback[{i}].model {link.model}"
        other = next((one for one in models if one.found.name == link.model), None)
        if other is None:
            others = [one.found.name for one in models if one is not model]
            yield f"{key} is not there{nearest(link.model, others)}"
        elif (plan := _newest_plan(other)) is None:
            yield f"{key} has no version that can be served"
        elif difference := _difference(mine, plan):
            yield f"{key} has another interface: {difference}"


def _newest_plan(model: ExaminedModel) -> VersionPlan | None:
    plans = [version.plan for version in model.versions if version.plan is not None]
    return plans[-1] if plans else None


def _difference(mine: VersionPlan, other: VersionPlan) -> str:
    """Why the other version cannot answer my requests; empty where it can."""
    for kind, ours, theirs in (
        ("input", mine.inputs, other.inputs),
        ("output", mine.outputs, other.outputs),
    ):
        specs = {spec.name: spec for spec in theirs}
        for spec in ours:
            if (its := specs.pop(spec.name, None)) is None:
                return f"it has no {kind} '{spec.name}'"
            agree = len(its.shape) == len(spec.shape) and all(
                -1 in (a, b) or a == b for a, b in zip(its.shape, spec.shape, strict=True)
            )
            if its.datatype != spec.datatype or not (agree or not its.shape or not spec.shape):
                return (
                    f"its {kind} '{spec.name}' is {its.datatype} {shape_text(its.shape)}, not "
                    f"{spec.datatype} {shape_text(spec.shape)}"
                )
        if more := [spec.name for spec in specs.values() if kind == "input" and not spec.optional]:
            return f"it asks for the input '{more[0]}' as well"
    return ""


def _with_warnings(model: ExaminedModel, warnings: list[str]) -> ExaminedModel:
    if not warnings:
        return model
    plans = ((version, version.plan) for version in model.versions)
    versions = (
        replace(version, plan=plan and replace(plan, warnings=(*plan.warnings, *warnings)))
        for version, plan in plans
    )
    return replace(model, versions=tuple(versions))


class _Source(FolderSource):
    """A source that gives the findings about a version as well, not only its plan."""

    async def examine(self, model: FoundModel, version: int) -> ExaminedVersion:
        chosen = next(one for one in model.live if one.version == version)
        try:
            inspected = await asyncio.to_thread(self._prepare, model, chosen)
            findings = await self._inspector.inspect(inspected.job)
            if findings.error:
                return ExaminedVersion(version, fault=findings.error)
            plan = await self.plan(SourceModel(model.name, (version,), details=model), version)
        except (RepositoryFault, CannotPlan) as fault:
            return ExaminedVersion(version, fault=str(fault))
        return ExaminedVersion(version, findings, plan)


async def _examine_models(repository: Repository, opened: _Source) -> tuple[ExaminedModel, ...]:
    total = sum(len(model.live) for model in repository.models)
    async with opened as source:
        done: list[int] = []
        reporting = asyncio.create_task(
            _report(lambda: f"inspected {len(done)} of {total} versions")
        )
        try:
            return tuple(
                await asyncio.gather(
                    *(_examine_model(source, model, done.append) for model in repository.models)
                )
            )
        finally:
            reporting.cancel()


async def _examine_model(
    source: _Source, model: FoundModel, done: Callable[[int], None]
) -> ExaminedModel:
    async def examine_version(version: int) -> ExaminedVersion:
        examined = await source.examine(model, version)
        done(version)
        return examined

    versions = await asyncio.gather(*(examine_version(version.version) for version in model.live))
    examined = ExaminedModel(model, tuple(versions))
    return _with_newest_warned(examined, await _interface_warning(source, examined))


async def _interface_warning(source: _Source, model: ExaminedModel) -> str:
    """What callers would notice who come from the version before the newest; empty: nothing."""
    newest = _newest_plan(model)
    before = predecessor(model.found)
    if newest is None or before is None or newest.allow_interface_change:
        return ""
    if newest.version != model.found.live[-1].version:  # that one cannot be served
        return ""
    (version,) = before.live
    known = [one.plan for one in model.versions if one.version == version.version]
    plan = known[0] if known else (await source.examine(before, version.version)).plan
    return interface_warning(plan, newest) if plan is not None else ""


def _with_newest_warned(model: ExaminedModel, warning: str) -> ExaminedModel:
    if not warning:
        return model
    *others, newest = model.versions
    plan = newest.plan
    warned = plan and replace(plan, warnings=(*plan.warnings, warning))
    return replace(model, versions=(*others, replace(newest, plan=warned)))


async def _report(text: Callable[[], str]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        print(f"gateway: {text()}", file=sys.stderr, flush=True)
