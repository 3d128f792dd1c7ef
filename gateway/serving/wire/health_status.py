"""The health of the server and of its models by the names of `grpc.health.v1`.

Runs in a serving process, which looks health up and lets callers watch it.

The names are: empty (the server as a whole), `inference.GRPCInferenceService` (the same), the name
of each model (serving while any version is live) and `MODEL/VERSION`. A model's health does not
depend on the other models: the server may be not ready because one of them failed. When the process
is about to leave nothing is serving any more, so that callers go elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import IntEnum
from types import TracebackType
from typing import Final, Self

from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.server_state import ServerState

INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
# watches a turn of the loop: each sends a message, 20-30 us, and inference goes on in between
_WOKEN_AT_ONCE: Final = 64


class Status(IntEnum):
    """The numbers of `HealthCheckResponse.ServingStatus`."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


class Health:
    """Looks health up in the server's state and the catalogue, and keeps only what is watched.

    So a change costs one look-up for every different name that is watched, however many models
    there are and however many callers watch.
    """

    def __init__(self, state: ServerState, catalogue: Catalogue) -> None:
        self._state = state
        self._catalogue = catalogue
        self._watched: dict[str, _Watched] = {}
        self._waking: deque[Watch] = deque()
        state.on_change(self._refresh)
        catalogue.on_change(self._refresh)

    def status(self, service: str) -> Status:
        """The health of one name."""
        if service in ("", INFERENCE_SERVICE):
            return Status.SERVING if self._state.ready else Status.NOT_SERVING
        if self._is_live(service):
            return Status.NOT_SERVING if self._state.draining else Status.SERVING
        return Status.NOT_SERVING if self._state.knows(service) else Status.SERVICE_UNKNOWN

    def statuses(self) -> dict[str, Status]:
        """The health of every name there is."""
        names = ["", INFERENCE_SERVICE]
        for model in self._catalogue.models():
            names += (
                model,
                *(f"{model}/{live.plan.version}" for live in self._catalogue.versions(model)),
            )
        publication = self._state.publication
        for entry in publication.index if publication is not None else ():
            names += (
                (entry.model, f"{entry.model}/{entry.version}") if entry.version else (entry.model,)
            )
        return {name: self.status(name) for name in names}

    def watch(self, service: str) -> Watch:
        """A watch of one name, there or not; to be closed."""
        watched = self._watched.get(service)
        if watched is None:
            watched = _Watched(self.status(service))
            self._watched[service] = watched
        watch = Watch(self, service, watched)
        watched.watches.add(watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Lets a watch go."""
        watched = watch.watched
        watched.watches.discard(watch)
        if not watched.watches and self._watched.get(watch.service) is watched:
            del self._watched[watch.service]

    def _is_live(self, service: str) -> bool:
        if self._catalogue.versions(service):
            return True
        model, _, version = service.rpartition("/")
        return any(str(live.plan.version) == version for live in self._catalogue.versions(model))

    def _refresh(self) -> None:
        idle = not self._waking
        for service, watched in self._watched.items():
            status = self.status(service)
            if status is not watched.status:
                watched.status = status
                self._waking.extend(watched.watches)
        if idle and self._waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(_WOKEN_AT_ONCE, len(self._waking))):
            self._waking.popleft().wake()
        if self._waking:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def __repr__(self) -> str:
        watches = sum(len(watched.watches) for watched in self._watched.values())
        return f"<Health {self.status('').name}, {watches} watches of {len(self._watched)} names>"


class _Watched:
    """A name that is watched, its last health and its watches."""

    __slots__ = ("status", "watches")

    def __init__(self, status: Status) -> None:
        self.status = status
        self.watches: set[Watch] = set()


class Watch:
    """One caller's watch of one name, to be closed; `with` does that."""

    __slots__ = ("_changed", "_health", "_last_sent", "service", "watched")

    def __init__(self, health: Health, service: str, watched: _Watched) -> None:
        self._health = health
        self.service = service
        self.watched = watched
        self._last_sent: Status | None = None
        self._changed: asyncio.Future[None] | None = None

    async def next(self) -> Status:
        """The health now, at the first call; then the next that differs from the one before."""
        while self.watched.status is self._last_sent:
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        self._last_sent = self.watched.status
        return self._last_sent

    def wake(self) -> None:
        """Wakes `next`, because the health has changed."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._health.forget(self)
