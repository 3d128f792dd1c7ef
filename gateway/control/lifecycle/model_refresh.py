"""Loads models again as they now stand in their source, in the control process.

There are two cases: a look at the source finds a model new or changed, or a serving process that
was restarted could not open again what is live.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from msgspec.structs import replace

from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fallback_check import FallbackCheck
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_loading import ModelLoading
from gateway.control.lifecycle.model_record import ModelRecord
from gateway.control.lifecycle.progress import Progress
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.models.sources.source import CannotPlan, Source, SourceModel
from gateway.core.errors import ModelFailed, ModelNotFound

log = logging.getLogger(__name__)

FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 60.0
"""Seconds between attempts to open again what a restarted process could not open.

They begin with `FIRST_RETRY_S`, and double up to `LONGEST_RETRY_S`.
"""


class ModelRefresh:
    """Brings models to what their source shows; the records are the caller's."""

    def __init__(
        self,
        records: Mapping[str, ModelRecord],
        source: Source,
        fleet: Fleet,
        rows: CounterRows,
        publisher: Publisher,
        progress_interval_s: float,
    ) -> None:
        self._records = records
        self._progress_interval_s = progress_interval_s
        self._source = source
        self._fleet = fleet
        self._fallbacks = FallbackCheck()
        self._publisher = publisher
        self.loading = ModelLoading(records, source, fleet, rows, publisher, self._keep_retrying)
        """What loads single models."""
        self._retries: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<ModelRefresh {len(self._retries)} models retried>"

    async def reconfigured(self, found: SourceModel, configuration: str) -> SourceModel:
        """The model under a configuration (JSON) that a caller sent; at fault if unreadable."""
        try:
            return await self._source.reconfigured(found, configuration)
        except CannotPlan as error:
            return replace(found, versions=(), fault=str(error))

    async def find(self, model: str, configuration: str = "") -> SourceModel:
        """The model as it now stands in the source, reconfigured where a configuration is given.

        Raises `ModelNotFound`, and `ModelFailed` where the source cannot be read.
        """
        try:
            found = {one.name: one for one in await self._source.scan()}.get(model)
        except OSError as error:
            raise ModelFailed(
                f"failed to load '{model}', the model repository cannot be read: {error}"
            ) from error
        if found is None:
            raise ModelNotFound(f"failed to load '{model}', {not_in_repository(model)}")
        return await self.reconfigured(found, configuration) if configuration else found

    # What a look at the source found.

    async def refresh_all(self, *, retry_failed: bool) -> None:
        """Loads each wanted model that is new, changed, or lacked by a process.

        `retry_failed`: those whose last load failed as well.
        """
        records = [
            record
            for record in self._records.values()
            if record.wanted and record.found is not None
        ]
        async with Progress(self._progress_interval_s) as progress:
            await asyncio.gather(
                *(self._refresh(record, progress, retry_failed=retry_failed) for record in records)
            )
        self._fallbacks.warn(self._fleet.live)

    async def _refresh(
        self, record: ModelRecord, progress: Progress, *, retry_failed: bool
    ) -> None:
        async with record.lock:
            found = record.found
            if found is None or not record.wanted:
                return
            fingerprint = await self._fingerprint(record, found)
            retries = record.lacking or (retry_failed and record.failed and not record.skipped)
            if fingerprint is None or (record.fingerprint == fingerprint and not retries):
                return
            if record.skipped:
                await self.loading.attempt(record, found, fingerprint, together=False)
                return
            progress.total += 1
            await self.loading.attempt(record, found, fingerprint, together=False)
            progress.model_finished(failed=record.failed, live=bool(record.live))

    async def _fingerprint(self, record: ModelRecord, found: SourceModel) -> str | None:
        """The model's fingerprint; None: it could not be taken, and the record says why."""
        try:
            return await self._source.fingerprint(found)
        except Exception as error:
            # a fault of ours with one model must not keep the others from being served
            log.exception("looking at %s", record.name)
            record.fault = f"{type(error).__name__}: {error}"
            return None

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

        While it fails the record keeps the outcome of the last load, because what is live came of
        that.
        """
        async with record.lock:
            found = next(
                (one for one in await self._source.scan() if one.name == record.name), record.found
            )
            if found is None or not record.lacking:
                return
            if record.configuration:
                found = await self.reconfigured(found, record.configuration)
            before = record.found, record.fingerprint, record.errors, record.fault
            await self.loading.attempt(
                record, found, await self._source.fingerprint(found), together=False
            )
            if record.lacking:
                record.found, record.fingerprint, record.errors, record.fault = before
            else:
                record.found = found
                log.info("model %s is served by every process again", record.name)
        await self._publisher.now()


def not_in_repository(model: str) -> str:
    """Triton's text for a model that the repository does not have."""
    return f"failed to poll from model repository: it has no model '{model}'"
