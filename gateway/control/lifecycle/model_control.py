"""Decides in the control process which models are loaded, and when.

There are three occasions: the start-up pass, a poll of the repository, and a caller's request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from gateway.config.control import ModelControlMode, ModelControlOptions
from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_loading import requested_configuration
from gateway.control.lifecycle.model_record import ModelRecord, all_ready, index_entries
from gateway.control.lifecycle.model_refresh import ModelRefresh, not_in_repository
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.models.sources.source import Source, SourceModel
from gateway.core.errors import ModelFailed, Unavailable
from gateway.ipc.repository_index import IndexEntry, VersionReport

log = logging.getLogger(__name__)

EVERY_MODEL = "*"


class StartUpFailed(Exception):
    """A failure at start that the options make the gateway's own; the text says which."""


class ModelControl:
    """The models of one repository, as they are wanted and as they are.

    `fleet` carries changes out, `rows` gives versions their counters, `publisher` publishes the
    index; all three are the caller's.
    """

    def __init__(
        self,
        options: ModelControlOptions,
        source: Source,
        fleet: Fleet,
        rows: CounterRows,
        publisher: Publisher,
    ) -> None:
        self._options = options
        self._source = source
        self._publisher = publisher
        self._records: dict[str, ModelRecord] = {}
        self._refresh = ModelRefresh(
            self._records, source, fleet, rows, publisher, options.progress_interval_s
        )
        self._loading = self._refresh.loading
        self._started = False
        self._scanning = asyncio.Lock()
        self._scan_fault = ""

    def __repr__(self) -> str:
        live = sum(bool(record.live) for record in self._records.values())
        return (
            f"<ModelControl {self._options.mode.value}: {live} of {len(self._records)} models "
            f"live{'' if self._started else ', starting'}>"
        )

    # What is known.

    @property
    def ready(self) -> bool:
        """The start-up pass is over; if readiness is strict, all wanted models are live as well.

        A model is live when every process has it.
        """
        return self._started and (
            not self._options.strict_readiness or all_ready(self._records.values())
        )

    @property
    def index(self) -> tuple[IndexEntry, ...]:
        """What RepositoryIndex answers."""
        return index_entries(self._records.values())

    @property
    def reports(self) -> tuple[VersionReport, ...]:
        """The same, with what only the control process knows of each version."""
        return self._loading.reports.all(self._records.values())

    # By itself.

    async def start_up(self) -> None:
        """Loads what is to be loaded at start.

        Raises `StartUpFailed` where the repository cannot be read, and, if the options say so,
        where a model cannot be served.
        """
        async with self._scanning:
            try:
                await self._take_over(await self._source.scan())
            except OSError as error:
                raise StartUpFailed(f"the model repository cannot be read: {error}") from error
            self._publisher.open()
            self._note_missing()
            await self._refresh.refresh_all(retry_failed=True)
            self._started = True
            if self._options.exit_on_error:
                self._require_all_served()
            await self._publisher.now()

    def _note_missing(self) -> None:
        """Models that the options name and that are not there get a record that says so."""
        for name in self._options.load_models:
            if name != EVERY_MODEL and name not in self._records:
                record = ModelRecord(name, wanted=True, fault=not_in_repository(name))
                self._records[name] = record
                log.error("model %s is not served: %s", name, record.fault)

    def _require_all_served(self) -> None:
        failed = sorted(
            record.name
            for record in self._records.values()
            if record.wanted and record.failed and not record.skipped
        )
        if failed:
            raise StartUpFailed(
                f"{len(failed)} of {len(self._records)} models cannot be served "
                f"(--exit-on-error): {', '.join(failed)}"
            )

    async def rescan(self, *, retry_failed: bool = True) -> str:
        """Loads what is new or changed, and unloads what has gone.

        A repository that is suddenly empty or unreadable changes nothing: the text says why, and is
        empty otherwise. `retry_failed`: models whose last load failed are tried again, even if
        unchanged.
        """
        async with self._scanning:
            if (found := await self._scanned()) is None:
                return self._scan_fault
            await self._take_over(found)
            await self._forget_vanished({model.name for model in found})
            await self._refresh.refresh_all(retry_failed=retry_failed)
            await self._publisher.now()
            return ""

    async def _scanned(self) -> tuple[SourceModel, ...] | None:
        """The models that a scan finds.

        None: the repository is taken for gone, which is logged once as long as it is so.
        """
        fault = ""
        found: tuple[SourceModel, ...] = ()
        try:
            found = await self._source.scan()
            if not found and any(record.live for record in self._records.values()):
                fault = "it holds no model any more"
        except OSError as error:
            fault = str(error)
        if fault and fault != self._scan_fault:
            log.error("the model repository is not available; live versions stay served: %s", fault)
        self._scan_fault = fault
        return None if fault else found

    async def keep_polling(self) -> None:
        """Looks at the repository every so often, in the mode `poll`; returns at once in others."""
        while self._options.mode is ModelControlMode.POLL:
            await asyncio.sleep(self._options.poll_interval_s)
            try:
                await self.rescan(retry_failed=False)
            except Exception:  # the next poll may go better
                log.exception("looking at the model repository")

    # By a caller.

    async def load(self, model: str, parameters: Mapping[str, object]) -> None:
        """Loads a model as it now stands in the repository, in every process or in none.

        Raises `ModelNotFound`, `ModelFailed` with the reasons, `Unavailable` where the mode leaves
        loading to the gateway, and what `requested_configuration` raises.
        """
        self._require_callers_may_change()
        configuration = requested_configuration(model, parameters)
        found = await self._refresh.find(model, configuration)
        record = self._records.setdefault(model, ModelRecord(model))
        async with record.lock:
            # a poll of the repository may have forgotten it meanwhile
            self._records[model] = record
            record.found = found
            await self._loading.attempt(
                record, found, await self._source.fingerprint(found), together=True
            )
            if not record.failed:
                record.wanted = True
                record.configuration = configuration
        await self._publisher.now()
        if record.failed:
            raise ModelFailed(record.load_failure())

    async def unload(self, model: str) -> None:
        """Takes a model out of service; calls in flight are answered.

        An unknown name is no error, as in Triton. Raises `Unavailable` as `load` does.
        """
        self._require_callers_may_change()
        if (record := self._records.get(model)) is not None:
            async with record.lock:
                record.wanted = False
                record.configuration = ""
                await self._loading.take_away(record)
            await self._publisher.now()

    def _require_callers_may_change(self) -> None:
        mode = self._options.mode
        if mode in (ModelControlMode.NONE, ModelControlMode.POLL):
            raise Unavailable(
                "explicit model load / unload is not allowed if polling is enabled "
                f"(--model-control {mode.value})"
            )

    # How it is done.

    async def _take_over(self, found: tuple[SourceModel, ...]) -> None:
        for model in found:
            record = self._records.get(model.name)
            if record is None:
                record = ModelRecord(model.name, wanted=self._wants(model.name))
                self._records[model.name] = record
            record.found = (
                await self._refresh.reconfigured(model, record.configuration)
                if record.configuration
                else model
            )

    def _wants(self, name: str) -> bool:
        """Whether a model that is met for the first time is to be loaded."""
        if self._options.mode is not ModelControlMode.EXPLICIT:
            return True
        return not self._started and (
            name in self._options.load_models or EVERY_MODEL in self._options.load_models
        )

    async def _forget_vanished(self, names: set[str]) -> None:
        for record in [record for record in self._records.values() if record.name not in names]:
            async with record.lock:
                await self._loading.take_away(record)
                del self._records[record.name]
                self._loading.reports.forget(record.name)
            log.info(
                "model %s was removed from the repository and is no longer served", record.name
            )
