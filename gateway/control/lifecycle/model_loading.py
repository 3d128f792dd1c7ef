"""Loads single models or takes them away, in the control process.

A model is planned version by version and changed in all processes; the outcome is written in its
record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from gateway.control.lifecycle.change_log import ChangeLog, versions
from gateway.control.lifecycle.changes import Drained, Event, Settled
from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.interface_check import refused_interfaces
from gateway.control.lifecycle.model_record import ModelRecord
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.lifecycle.version_reports import VersionReports
from gateway.control.models.sources.source import CannotPlan, Source, SourceModel
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.core.plan import VersionPlan

log = logging.getLogger(__name__)


class ModelLoading:
    """Carries out what is decided about single models, and writes the outcome in their records.

    The records are the caller's.
    """

    def __init__(
        self,
        records: Mapping[str, ModelRecord],
        source: Source,
        fleet: Fleet,
        rows: CounterRows,
        publisher: Publisher,
        lacks: Callable[[ModelRecord], None] = lambda _: None,
    ) -> None:
        """`lacks` is called whenever a process is known to lack a live version of the model."""
        self._lacks = lacks
        self._lacking = set[str]()
        self._records = records
        self._source = source
        self._fleet = fleet
        self._rows = rows
        self._publisher = publisher
        self._log = ChangeLog(fleet.holders)
        self.reports = VersionReports(fleet)
        """Since when each version stands as it does."""
        fleet.observe(self._observe)

    async def attempt(
        self, record: ModelRecord, found: SourceModel, fingerprint: str, *, together: bool
    ) -> None:
        """Loads the model as found; what went wrong stands in the record.

        The caller holds the record's lock.
        """
        record.fingerprint = fingerprint
        record.fault = found.skipped or found.fault
        record.errors = {}
        record.loading = tuple(version for version in found.versions if version not in record.live)
        self._note(record)
        try:
            if not record.fault:
                await self._change(record, found, together=together)
        except Exception as error:
            # a fault of ours with one model must not keep the others from being served
            log.exception("loading %s", record.name)
            record.fault = f"{type(error).__name__}: {error}"
        finally:
            record.loading = ()
            self._note(record)
        _log_attempt(record, found)

    async def take_away(self, record: ModelRecord) -> None:
        """Takes the model out of service; the caller holds the record's lock."""
        if record.live:
            await self._fleet.change(record.name, together=True)
        record.errors = {}
        record.fault = ""
        record.fingerprint = None
        self.reports.note(record)

    async def _change(self, record: ModelRecord, found: SourceModel, *, together: bool) -> None:
        outcomes = await asyncio.gather(*(self._plan(found, version) for version in found.versions))
        plans = [plan for plan in outcomes if isinstance(plan, VersionPlan)]
        for version, outcome in zip(found.versions, outcomes, strict=True):
            if isinstance(outcome, str):
                record.errors[version] = outcome
        record.errors |= refused_interfaces(record.name, self._fleet.live, plans)
        fit = [plan for plan in plans if plan.version not in record.errors]
        if not fit or (together and record.errors):
            self._release_unserved(record, plans)
            return
        retries = 0 if together else 1
        settled = await self._fleet.change(
            record.name, fit, together=together, replaces=not record.errors, retries=retries
        )
        record.errors.update((version, text) for (_, version), text in settled.errors)
        self._release_unserved(record, plans)

    def _release_unserved(self, record: ModelRecord, plans: Iterable[VersionPlan]) -> None:
        """Lets go of the rows of versions that did not come to be live.

        A version that still drains counts on; its row is let go of when it has drained.
        """
        for plan in plans:
            if plan.key not in self._fleet.live and plan.version not in record.draining:
                self._rows.release(plan.key)

    async def _plan(self, found: SourceModel, version: int) -> VersionPlan | str:
        try:
            plan = await self._source.plan(found, version)
        except CannotPlan as error:
            return str(error)
        for warning in plan.warnings:
            log.warning("model %s version %d: %s", found.name, version, warning)
        row = self._rows.assign(plan.key)
        if row < 0:
            return (
                f"the gateway serves at most {self._rows.size} versions, and as many are loaded: "
                "unload one first"
            )
        return replace(plan, statistics_row=row)

    def _observe(self, event: Event) -> None:
        if isinstance(event, Settled | Drained):
            self._end(event)
        self._note_lacking()

    def _note_lacking(self) -> None:
        """Writes in the records what processes lack now."""
        lacking = self._fleet.lacking
        names = {model for model, _ in lacking}
        for name in self._lacking | names:
            if (record := self._records.get(name)) is None:
                continue
            mine = {version: slots for (model, version), slots in lacking.items() if model == name}
            record.lacking = {version: _lack_text(slots) for version, slots in mine.items()}
            record.held_nowhere = {
                version for version in mine if not self._fleet.holders((name, version))
            }
            if record.lacking:
                self._lacks(record)
            self._note(record)
        self._lacking = names

    def _end(self, end: Settled | Drained) -> None:
        record = self._records.get(end.change.model)
        retired = {version for _, version in end.retired}
        if isinstance(end, Drained):
            self._log.drained(end)
            for key in end.retired:
                if key not in self._fleet.live:
                    self._rows.release(key)
        else:
            self._log.settled(end, record.live if record is not None else ())
        if record is None:
            return
        if isinstance(end, Drained):
            record.draining -= retired
            record.gone |= retired - record.live
        else:
            live = {version for _, version in end.live}
            record.live = (record.live - retired) | live
            record.draining = (record.draining | retired) - live
            record.gone -= live
        self._note(record)

    def _note(self, record: ModelRecord) -> None:
        """Something of the record has changed: others are to know it."""
        self.reports.note(record)
        self._publisher.soon()


def requested_configuration(model: str, parameters: Mapping[str, object]) -> str:
    """The configuration (JSON) that came with a load; empty: none.

    Raises `Unsupported` for a file, `InvalidRequest` for any other parameter that is not known.
    """
    for name in parameters:
        if name.startswith("file:"):
            raise Unsupported(
                f"failed to load '{model}', files are not taken from requests: put "
                "them into the model repository"
            )
        if name != "config":
            raise InvalidRequest(
                f"failed to load '{model}', unrecognized load parameter "
                f"'{name}': only config is known"
            )
    configuration = parameters.get("config", "")
    if not isinstance(configuration, str):
        raise InvalidRequest(
            f"failed to load '{model}', the parameter 'config' must be a string of JSON, got "
            f"{type(configuration).__name__}"
        )
    return configuration


def _lack_text(slots: Mapping[int, str]) -> str:
    """Which processes lack a version, and why."""
    return "; ".join(
        f"serving process {slot} could not open it again after a restart: {text}"
        for slot, text in slots.items()
    )


def _log_attempt(record: ModelRecord, found: SourceModel) -> None:
    for warning in found.warnings:
        log.warning("model %s: %s", record.name, warning)
    stays = f"{versions(record.live, 'stays stay')} live" if record.live else ""
    goes_on = f" ({stays})" if stays else ""
    if found.skipped:
        log.info("model %s is not served: %s; skipped%s", record.name, found.skipped, goes_on)
    elif record.fault:
        log.error("model %s is not served: %s%s", record.name, record.fault, goes_on)
    for version, text in sorted(record.errors.items()):
        if version in record.live:
            log.error("%s: version %d stays live as it was loaded: %s", record.name, version, text)
        elif stays:
            log.error("%s: version %d is refused, %s: %s", record.name, version, stays, text)
        else:
            log.error("model %s version %d is not served: %s", record.name, version, text)
