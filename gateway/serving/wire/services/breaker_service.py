"""ListBreakers and SetBreaker of `gateway.control.v1.GatewayControl`, in a serving process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final, cast

from gateway.core.errors import InvalidRequest, ModelNotFound
from gateway.ipc.messages import Change
from gateway.ipc.serving_link import ServingLink
from gateway.protocol.generated.gateway_control_pb2 import (
    AUTOMATIC,
    CLOSED,
    FORCE_CLOSED,
    FORCE_OPEN,
    HALF_OPEN,
    OPEN,
    Breaker,
    BreakerMode,
    BreakerName,
    BreakerState,
    ListBreakersRequest,
    ListBreakersResponse,
    ProcessBreaker,
    SetBreakerRequest,
    SetBreakerResponse,
)
from gateway.records.breaker_state import BreakerKey, Forced, Snapshot, Survey
from gateway.serving.wire.security.authorization import Authorization
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.parsing import parse
from gateway.serving.wire.transport.interface import Call

_FORCED: Final[dict[BreakerMode, Forced]] = {
    AUTOMATIC: "",
    FORCE_OPEN: "open",
    FORCE_CLOSED: "closed",
}
_MODES: Final[dict[Forced, BreakerMode]] = {forced: mode for mode, forced in _FORCED.items()}
_STATES: Final[dict[str, BreakerState]] = {"closed": CLOSED, "open": OPEN, "half-open": HALF_OPEN}
_log = logging.getLogger(__name__)


class BreakerService:
    """Lists the circuit breakers of all processes, and has the control process force them."""

    def __init__(
        self, state: ServerState, control: ServingLink, authorization: Authorization
    ) -> None:
        self._state = state
        self._control = control
        self._authorization = authorization

    async def list_breakers(self, _call: Call, message: bytes) -> bytes:
        """ListBreakers: the breakers of every process, whichever process is asked."""
        request = parse(ListBreakersRequest, message)
        versions = (
            self._versions(request.model, request.version)
            if request.model or request.version
            else None
        )
        survey = await self._survey()
        return ListBreakersResponse(
            breakers=[
                breaker
                for (model, version, _), breaker in _breakers(survey)
                if versions is None or (model == request.model and version in versions)
            ],
            silent_processes=[
                process for process, report in survey.reports.items() if report is None
            ],
        ).SerializeToString()

    async def set_breaker(self, call: Call, message: bytes) -> bytes:
        """SetBreaker: returns when the mode holds in every process."""
        self._authorization.require(call)
        request = parse(SetBreakerRequest, message)
        if request.mode not in _FORCED:
            raise InvalidRequest("'mode' is not set: AUTOMATIC, FORCE_OPEN or FORCE_CLOSED")
        keys = await self._keys(request)
        _log.info(
            "%s asks for %s of the circuit breakers of %s",
            call.peer(),
            BreakerMode.Name(request.mode),
            ", ".join(f"'{m}' version {v} {i}".rstrip() for m, v, i in keys),
        )
        warnings = await self._control.ask(
            Change.BREAKERS, request.model, {"keys": tuple(keys), "mode": _FORCED[request.mode]}
        )
        return SetBreakerResponse(
            breakers=[BreakerName(model=m, version=str(v), instance=i) for m, v, i in keys],
            warnings=cast("tuple[str, ...]", warnings),
        ).SerializeToString()

    async def _keys(self, request: SetBreakerRequest) -> Sequence[BreakerKey]:
        """The breakers that a request sets; raises ModelNotFound. There are three cases."""
        versions: Sequence[BreakerKey] = [
            (request.model, version, "")
            for version in self._versions(request.model, request.version)
        ]
        if request.instance:
            return await self._of_instance(versions, request.instance)
        if request.mode == BreakerMode.FORCE_OPEN:
            return versions  # an open breaker of the version is enough to let nothing pass
        return [*versions, *await self._instances(versions)]  # what is to pass has to pass both

    async def _survey(self) -> Survey:
        return cast("Survey", await self._control.ask(Change.BREAKERS, "", {}))

    def _versions(self, model: str, version: str) -> list[int]:
        """The model's versions in the repository, live or not; or the one that was asked for."""
        if not model:
            raise InvalidRequest("'model' is empty: name the model")
        versions = [
            entry.version for entry in self._state.published().index if entry.model == model
        ]
        if not versions:
            raise ModelNotFound(f"there is no model '{model}'")
        found = [int(each) for each in versions if each and version in ("", each)]
        if not found:
            there = ", ".join(filter(None, versions)) or "none"
            raise ModelNotFound(
                f"model '{model}' has no "
                f"version{f' {version}' if version else ''} (versions: {there})"
            )
        return found

    async def _instances(self, versions: Sequence[BreakerKey]) -> list[BreakerKey]:
        """The breakers of all instances of these versions.

        Those are known that a process has or an operator has set.
        """
        survey = await self._survey()
        known = {
            key for report in survey.reports.values() for key, _ in report or ()
        } | survey.forced.keys()
        return sorted(key for key in known if key[2] and (*key[:2], "") in versions)

    async def _of_instance(self, versions: Sequence[BreakerKey], instance: str) -> list[BreakerKey]:
        """The breakers of one instance, of any of these versions; raises ModelNotFound."""
        there = await self._instances(versions)
        found = [key for key in there if key[2] == instance]
        if not found:
            names = ", ".join(sorted({key[2] for key in there})) or "none"
            raise ModelNotFound(
                f"model '{versions[0][0]}' has no instance '{instance}' with a breaker of "
                f"its own (instances: {names})"
            )
        return found


def _breakers(survey: Survey) -> Iterator[tuple[BreakerKey, Breaker]]:
    """Every breaker that a process has or an operator has set, with its key, in order."""
    reports = {
        process: dict(report) for process, report in survey.reports.items() if report is not None
    }
    for key in sorted(
        {key for report in reports.values() for key in report} | survey.forced.keys()
    ):
        found = {process: report[key] for process, report in reports.items() if key in report}
        yield key, _breaker(key, survey.forced.get(key, ""), found)


def _breaker(key: BreakerKey, forced: Forced, processes: dict[int, Snapshot]) -> Breaker:
    model, version, instance = key
    snapshots = [_process_breaker(process, snapshot) for process, snapshot in processes.items()]
    return Breaker(
        model=model,
        version=str(version),
        instance=instance,
        mode=_MODES[forced],
        processes=snapshots,
    )


def _process_breaker(process: int, snapshot: Snapshot) -> ProcessBreaker:
    return ProcessBreaker(
        process=process,
        state=_STATES[snapshot.state],
        consecutive_failures=snapshot.consecutive_failures,
        window_batches=snapshot.window_batches,
        window_failures=snapshot.window_failures,
        retry_in_s=snapshot.retry_in_s,
        opened=snapshot.opened,
        last_error=snapshot.last_error,
    )
