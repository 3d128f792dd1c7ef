"""Which models are loaded, when, and by whose word.

The start-up pass, looks at the repository, callers' loads and unloads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from gateway.config.control import ModelControlMode, ModelControlOptions
from gateway.control.lifecycle.counter_rows import StatisticsRows
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_loading import ModelLoading, requested_configuration
from gateway.control.lifecycle.model_record import (
    CannotPlan,
    ModelRecord,
    Source,
    SourceModel,
    all_ready,
    index_entries,
)
from gateway.control.lifecycle.progress import Progress
from gateway.control.lifecycle.publisher import Bulletin
from gateway.core.errors import ModelFailed, ModelNotFound, Unavailable
from gateway.ipc.repository_index import IndexEntry

log = logging.getLogger(__name__)

EVERY_MODEL = "*"
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
"""What a restarted process could not open again is tried again after the first.

Then after twice as long each time, up to the longest.
"""


class StartUpFailed(Exception):
    """The gateway is not to go on; the text says why."""


class ModelControl:
    """The models of one repository, as wanted and as they are."""

    def __init__(
        self,
        options: ModelControlOptions,
        source: Source,
        fleet: Fleet,
        rows: StatisticsRows,
        bulletin: Bulletin,
    ) -> None:
        self._options = options
        self._source = source
        self._bulletin = bulletin
        self._records: dict[str, ModelRecord] = {}
        self._loading = ModelLoading(
            self._records, source, fleet, rows, bulletin, self._keep_retrying
        )
        self._retries: dict[str, asyncio.Task[None]] = {}
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
        """The start-up pass is over.

        Under strict readiness every model that is wanted is live in every process.
        """
        return self._started and (
            not self._options.strict_readiness or all_ready(self._records.values())
        )

    @property
    def index(self) -> tuple[IndexEntry, ...]:
        """What RepositoryIndex answers."""
        return index_entries(self._records.values())

    def model_ready(self, model: str, version: int | None = None) -> bool | None:
        """A version, or any, is live in a process; None: there is no such model."""
        record = self._records.get(model)
        if record is None:
            return None
        return bool(record.serving) if version is None else version in record.serving

    # By itself.

    async def start_up(self) -> None:
        """Loads what is to be loaded at start.

        Raises `StartUpFailed` where the options make a failure the gateway's.
        """
        async with self._scanning:
            try:
                await self._take_over(await self._source.scan())
            except OSError as error:
                raise StartUpFailed(f"the model repository cannot be read: {error}") from error
            self._bulletin.open()
            for name in self._options.load_models:
                if name != EVERY_MODEL and name not in self._records:
                    record = ModelRecord(name, wanted=True, fault=_not_in_repository(name))
                    self._records[name] = record
                    log.error("model %s is not served: %s", name, record.fault)
            await self._refresh_all(retry_failed=True)
            self._started = True
            failed = sorted(
                record.name
                for record in self._records.values()
                if record.wanted and record.failed and not record.skipped
            )
            if failed and self._options.exit_on_error:
                raise StartUpFailed(
                    f"{len(failed)} of {len(self._records)} models cannot be served "
                    f"(--exit-on-error): {', '.join(failed)}"
                )
            await self._bulletin.now()

    async def rescan(self, *, retry_failed: bool = True) -> None:
        """Loads what is new or changed, unloads what has gone.

        A repository that is suddenly empty or unreadable changes nothing.
        """
        async with self._scanning:
            fault = ""
            try:
                found = await self._source.scan()
                if not found and any(record.live for record in self._records.values()):
                    fault = "it holds no model any more"
            except OSError as error:
                fault = str(error)
            if fault:
                if fault != self._scan_fault:
                    log.error(
                        "the model repository is taken for gone, and what is live goes on: %s",
                        fault,
                    )
                self._scan_fault = fault
                return
            self._scan_fault = ""
            await self._take_over(found)
            await self._forget_vanished({model.name for model in found})
            await self._refresh_all(retry_failed=retry_failed)
            await self._bulletin.now()

    async def keep_polling(self) -> None:
        """Looks at the repository for ever, where the mode is poll."""
        while self._options.mode is ModelControlMode.POLL:
            await asyncio.sleep(self._options.poll_interval_s)
            try:
                await self.rescan(retry_failed=False)
            except Exception:  # the next look may go better
                log.exception("looking at the model repository")

    # By a caller.

    async def load(self, model: str, parameters: Mapping[str, object]) -> None:
        """Loads a model as it now stands in the repository.

        All its versions, in every process, or nothing changes.
        """
        self._require_callers_may_change()
        configuration = requested_configuration(model, parameters)
        try:
            found = {one.name: one for one in await self._source.scan()}.get(model)
        except OSError as error:
            raise ModelFailed(
                f"failed to load '{model}', the model repository cannot be read: {error}"
            ) from error
        if found is None:
            raise ModelNotFound(f"failed to load '{model}', {_not_in_repository(model)}")
        if configuration:
            found = await self._reconfigured(found, configuration)
        record = self._records.setdefault(model, ModelRecord(model))
        async with record.lock:
            # a look at the repository may have forgotten it meanwhile
            self._records[model] = record
            record.found = found
            await self._loading.attempt(
                record, found, await self._source.fingerprint(found), together=True
            )
            if not record.failed:
                record.wanted = True
                record.configuration = configuration
        await self._bulletin.now()
        if record.failed:
            raise ModelFailed(record.load_failure())

    async def unload(self, model: str) -> None:
        """Takes a model out of service; calls in flight are answered.

        A name that nobody bears is no error, as in Triton.
        """
        self._require_callers_may_change()
        if (record := self._records.get(model)) is not None:
            async with record.lock:
                record.wanted = False
                record.configuration = ""
                await self._loading.take_away(record)
            await self._bulletin.now()

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
                await self._reconfigured(model, record.configuration)
                if record.configuration
                else model
            )

    async def _reconfigured(self, found: SourceModel, configuration: str) -> SourceModel:
        try:
            return await self._source.reconfigured(found, configuration)
        except CannotPlan as error:
            return replace(found, versions=(), fault=str(error))

    def _wants(self, name: str) -> bool:
        """A model met for the first time is to be loaded."""
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
            log.info(
                "model %s has gone from the repository and is not served any more", record.name
            )

    async def _refresh_all(self, *, retry_failed: bool) -> None:
        records = [
            record
            for record in self._records.values()
            if record.wanted and record.found is not None
        ]
        async with Progress(self._options.progress_interval_s) as progress:
            await asyncio.gather(
                *(self._refresh(record, progress, retry_failed=retry_failed) for record in records)
            )

    async def _refresh(
        self, record: ModelRecord, progress: Progress, *, retry_failed: bool
    ) -> None:
        async with record.lock:
            found = record.found
            if found is None or not record.wanted:
                return
            try:
                fingerprint = await self._source.fingerprint(found)
            except Exception as error:
                # a fault of ours with one model must not keep the others from being served
                log.exception("looking at %s", record.name)
                record.fault = f"{type(error).__name__}: {error}"
                return
            retries = record.lacking or (retry_failed and record.failed and not record.skipped)
            if record.fingerprint == fingerprint and not retries:
                return
            if record.skipped:
                await self._loading.attempt(record, found, fingerprint, together=False)
                return
            progress.total += 1
            await self._loading.attempt(record, found, fingerprint, together=False)
            progress.ended(failed=record.failed)

    # What a restarted process could not open again.

    def _keep_retrying(self, record: ModelRecord) -> None:
        if record.name not in self._retries:
            task = asyncio.create_task(self._retry_until_held(record.name))
            self._retries[record.name] = task
            task.add_done_callback(lambda _: self._retries.pop(record.name, None))

    async def _retry_until_held(self, name: str) -> None:
        delay_s = FIRST_RETRY_S
        while (record := self._records.get(name)) is not None and record.lacking:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_RETRY_S)
            try:
                await self._retry(record)
            except Exception:  # the next attempt may go better
                log.exception("loading %s again", name)

    async def _retry(self, record: ModelRecord) -> None:
        """One more attempt, in all processes.

        While it fails the record keeps what it says of the last load: what is live came of that.
        """
        async with record.lock:
            found = next(
                (one for one in await self._source.scan() if one.name == record.name), record.found
            )
            if found is None or not record.lacking:
                return
            if record.configuration:
                found = await self._reconfigured(found, record.configuration)
            before = record.found, record.fingerprint, record.errors, record.fault
            await self._loading.attempt(
                record, found, await self._source.fingerprint(found), together=False
            )
            if record.lacking:
                record.found, record.fingerprint, record.errors, record.fault = before
            else:
                record.found = found
                log.info("model %s is served by every process again", record.name)
        await self._bulletin.now()


def _not_in_repository(model: str) -> str:
    return f"failed to poll from model repository: it has no model '{model}'"
