"""ListModels and ReloadModels of `gateway.control.v1.GatewayControl`, in a serving process."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import cast

from gateway.core.errors import ModelNotFound
from gateway.core.name_list import listed
from gateway.ipc.messages import Change
from gateway.ipc.repository_index import VersionReport
from gateway.ipc.serving_link import ServingLink
from gateway.protocol.generated.gateway_control_pb2 import (
    ListModelsRequest,
    ListModelsResponse,
    ModelVersion,
    ReloadModelsRequest,
    ReloadModelsResponse,
)
from gateway.serving.wire.security.authorization import Authorization
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

_log = logging.getLogger(__name__)


class LifecycleService:
    """Asks the control process which versions are live, and has it look at the repository."""

    def __init__(self, control: ServingLink, authorization: Authorization) -> None:
        self._control = control
        self._authorization = authorization

    async def list_models(self, _call: Call, message: bytes) -> bytes:
        """ListModels: as the control process knows them, whichever process is asked."""
        request = parse(ListModelsRequest, message)
        reports = await self._reports(Change.MODELS)
        found = [report for report in reports if request.model in ("", report.entry.model)]
        if request.model and not found:
            there = listed(dict.fromkeys(report.entry.model for report in reports))
            raise ModelNotFound(f"there is no model '{request.model}' (models: {there})")
        return ListModelsResponse(versions=map(_version, found)).SerializeToString()

    async def reload_models(self, call: Call, message: bytes) -> bytes:
        """ReloadModels: returns when what the repository holds is settled in every process."""
        self._authorization.require(call)
        parse(ReloadModelsRequest, message)
        _log.info("%s asks to look at the model repository", call.peer())
        changed = await self._reports(Change.RELOAD)
        return ReloadModelsResponse(changed=map(_version, changed)).SerializeToString()

    async def _reports(self, what: Change) -> Iterable[VersionReport]:
        return cast("Iterable[VersionReport]", await self._control.ask(what, "", {}))


def _version(report: VersionReport) -> ModelVersion:
    entry = report.entry
    return ModelVersion(
        model=entry.model,
        version=entry.version,
        state=entry.state or "",
        reason=entry.reason,
        since=report.since_s,
        digest=report.digest,
        processes=report.processes,
    )
