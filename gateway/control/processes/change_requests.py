"""Changes that callers ask of the control process, and the look at the models that SIGHUP asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

from gateway.control.lifecycle.fallback_check import unanswered
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.control.lifecycle.version_reports import changed
from gateway.control.processes.gateway_state import GatewayState
from gateway.core.errors import ModelFailed, Unavailable
from gateway.ipc.messages import Ask, Change
from gateway.ipc.repository_index import VersionReport
from gateway.records.breaker_state import BreakerKey, Forced, Survey

if TYPE_CHECKING:  # imported while the serving processes come up
    from gateway.control.lifecycle.model_control import ModelControl

log = logging.getLogger(__name__)


class ChangeRequests:
    """Carries out what is asked, and returns when the change holds in every process."""

    def __init__(
        self, state: GatewayState, fleet: Fleet, settings: RuntimeSettings, publisher: Publisher
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._settings = settings
        self._publisher = publisher
        self._rescans: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<ChangeRequests {len(self._rescans)} rescans under way>"

    async def answer(self, ask: Ask) -> object:
        """The `value` of the reply to the request (see `Reply`).

        Raises a `GatewayError` where the change cannot be made, `Unavailable` before the source of
        the models is open.
        """
        models = self._state.models
        if models is None:
            raise Unavailable("the server is starting: nothing can be changed yet")
        match ask.change:
            case Change.LOAD:
                await models.load(ask.model, ask.parameters)
            case Change.UNLOAD:
                await models.unload(ask.model)
            case Change.TRACE_SETTINGS | Change.LOG_SETTINGS:
                values = self._settings.change(ask.change, ask.parameters)
                if ask.parameters:
                    await self._publisher.now()
                return values
            case Change.BREAKERS:
                return await self._breakers(ask.parameters)
            case Change.MODELS:
                return models.reports
            case Change.RELOAD:
                return await self._reload(models)
        return None

    async def _reload(self, models: ModelControl) -> tuple[VersionReport, ...]:
        """Looks at the model repository, and returns what stands otherwise than before.

        Raises `ModelFailed` where the repository cannot be read.
        """
        before = models.reports
        if fault := await models.rescan():
            raise ModelFailed(
                f"failed to reload, the model repository is not available: {fault}; live versions "
                "stay served"
            )
        return changed(before, models.reports)

    async def _breakers(self, parameters: Mapping[str, object]) -> Survey | tuple[str, ...]:
        """The states of all; or, where some are to be set, what an operator should know of it."""
        if not parameters:
            return await self._fleet.breakers.survey()
        keys = tuple(cast("Iterable[BreakerKey]", parameters["keys"]))
        mode = cast("Forced", parameters["mode"])
        self._fleet.breakers.force(keys, mode)
        warnings = unanswered(self._fleet.live, keys) if mode == "open" else ()
        for warning in warnings:
            log.warning("%s", warning)
        await self._publisher.now()
        return warnings

    def begin_rescan(self) -> None:
        """Looks at the model repository in the background."""
        rescan = asyncio.create_task(self._rescan())
        self._rescans.add(rescan)
        rescan.add_done_callback(self._rescans.discard)

    async def _rescan(self) -> None:
        log.info("SIGHUP: looking at the model repository")
        try:
            if self._state.models is not None:
                await self._state.models.rescan()
        except Exception:  # what is live stays served
            log.exception("looking at the model repository")
