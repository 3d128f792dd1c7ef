"""Which version answers: model names to live versions, swapped at once, the old drained."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from gateway.core.errors import GatewayError, InvalidRequest, ModelNotFound, Unavailable
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction
from gateway.protocol.codec import VersionCodec

_LEAVING: Final = "it is UNLOADING"


class RequestCounts(Protocol):
    """What is counted of requests."""

    def record_failures(self, requests: int, ns: int) -> None:
        """So many requests failed, after so many nanoseconds in all."""
        ...

    def record_request(self, elapsed_s: float, queue_s: float) -> None:
        """One was answered; `queue_s` below 0: no batch ran it."""
        ...

    def record_failure(self, reason: int, elapsed_s: float) -> None:
        """One was not; `reason` is its place in `gateway.core.errors.REASONS`."""
        ...

    def record_degraded(self) -> None:
        """A fallback answered one."""
        ...


class Quota(Protocol):
    """What each caller may ask for."""

    def require(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Counts one request of its caller; raises QuotaExceeded."""
        ...


class Live:
    """A version that answers, with what belongs to it.

    The outermost Predictor of a version: it counts who is inside.
    """

    __slots__ = (
        "_close",
        "_drained",
        "_now",
        "_unguarded",
        "codec",
        "counts",
        "in_flight",
        "inner",
        "plan",
        "quota",
        "row",
        "slowest",
    )

    def __init__(
        self,
        plan: VersionPlan,
        inner: Predictor,
        codec: VersionCodec,
        *,
        statistics: RequestCounts,
        now: Callable[[], float],
        close: Callable[[], Awaitable[None]],
        unguarded: Predictor | None = None,
        quota: Quota | None = None,
        slowest: Any = None,
    ) -> None:
        """`unguarded`: the inside without its fallbacks, for the fallbacks of others.

        `slowest`: what whoever observes it keeps of it.
        """
        self.plan = plan
        self.inner = inner
        self.codec = codec
        self._close = close
        self._unguarded = unguarded or inner
        self.quota = quota
        self.counts = statistics
        self._now = now
        self.row = plan.statistics_row
        self.slowest = slowest
        self.in_flight = 0
        self._drained: asyncio.Event | None = None

    async def predict(self, request: InferenceRequest) -> Prediction:
        """What the inside answers."""
        self.in_flight += 1
        try:
            return await self.inner.predict(request)
        except GatewayError:
            self.counts.record_failures(1, int((self._now() - request.arrived) * 1e9))
            raise
        finally:
            self.left()

    def left(self) -> None:
        """Somebody inside has gone."""
        self.in_flight -= 1
        if self._drained is not None and not self.in_flight:
            self._drained.set()

    def beneath(self) -> Beneath:
        """The version without its fallbacks."""
        return Beneath(self, self._unguarded)

    async def drain(self) -> None:
        """Waits until nobody is inside any more."""
        if self.in_flight:
            self._drained = self._drained or asyncio.Event()
            await self._drained.wait()

    async def close(self) -> None:
        """Lets go of the model; nobody may be inside."""
        await self._close()

    def describe(self) -> Description:
        """The version and what it is made of."""
        return Description(
            f"{self.plan.model} version {self.plan.version}",
            f"{self.in_flight} in flight",
            self.inner.describe(),
        )

    def __repr__(self) -> str:
        return f"<Live {self.plan.model} {self.plan.version}, {self.in_flight} in flight>"


class Beneath:
    """A version without its fallbacks, for the fallbacks of others: a chain cannot loop."""

    __slots__ = ("_inner", "_live", "plan")

    def __init__(self, live: Live, inner: Predictor) -> None:
        self._live = live
        self._inner = inner
        self.plan = live.plan

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The version's own answer."""
        self._live.in_flight += 1
        try:
            return await self._inner.predict(request)
        finally:
            self._live.left()


class Catalogue:
    """The live versions of all models.

    `generation` grows with every change: what was resolved under an
    older one is to be resolved anew.
    """

    def __init__(self) -> None:
        self._models: dict[str, dict[int, Live]] = {}
        self._newest: dict[str, Live] = {}
        self._reasons: Mapping[tuple[str, int], str] = {}
        self._listeners: list[Callable[[], None]] = []
        self.generation = 0

    def resolve(self, model: str, version: str) -> Live:
        """The version asked for, the newest where `version` is empty.

        Raises ModelNotFound, Unavailable for one that is known and not live (loading, failed),
        InvalidRequest for a version that is no number.
        """
        live = (
            self._models.get(model, {}).get(version_number(model, version))
            if version
            else self._newest.get(model)
        )
        if live is None:
            raise self._missing(model, version)
        return live

    def versions(self, model: str) -> list[Live]:
        """All live versions of a model, oldest first; empty if there is none."""
        return [live for _, live in sorted(self._models.get(model, {}).items())]

    def models(self) -> list[str]:
        """Names of all models with a live version, sorted."""
        return sorted(self._models)

    def swap(self, live: Iterable[Live], retire: Iterable[tuple[str, int]]) -> list[Live]:
        """Makes versions live and takes others out, all at once.

        Returns those that are out, for draining.
        """
        out: list[Live] = []
        for model, version in retire:
            if (old := self._models.get(model, {}).pop(version, None)) is not None:
                out.append(old)
        if out:  # until it is explained: nobody is to be told that there is no such model
            self._reasons = {
                **self._reasons,
                **{(old.plan.model, old.plan.version): _LEAVING for old in out},
            }
        for new in live:
            versions = self._models.setdefault(new.plan.model, {})
            if (old := versions.get(new.plan.version)) is not None:
                out.append(old)
            versions[new.plan.version] = new
        self._models = {model: versions for model, versions in self._models.items() if versions}
        self._newest = {model: versions[max(versions)] for model, versions in self._models.items()}
        self.generation += 1
        self._tell()
        return out

    def explain(self, reasons: Mapping[tuple[str, int], str]) -> None:
        """Says why versions that are known are not live, for those who ask for them.

        Version 0 speaks for the whole model.
        """
        self._reasons = reasons
        self._tell()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Calls the listener after every change."""
        self._listeners.append(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _missing(self, model: str, version: str) -> GatewayError:
        known = {v: reason for (name, v), reason in self._reasons.items() if name == model}
        number = int(version) if version else 0
        if number in known or (known and not version):
            reason = known.get(number) or next(iter(known.values()))
            return Unavailable(
                f"Request for unknown model: '{model}'{_version_text(version)} is "
                f"not at ready state: {reason}"
            )
        if version and model in self._models:
            return ModelNotFound(
                f"Request for unknown model: '{model}' version {version} is not found"
            )
        return ModelNotFound(f"Request for unknown model: '{model}' is not found")

    def __repr__(self) -> str:
        return f"<Catalogue {len(self._models)} models, generation {self.generation}>"


def _version_text(version: str) -> str:
    return f" version {version}" if version else ""


def version_number(model: str, version: str) -> int:
    """A version as a number; raises InvalidRequest where it is none."""
    # 64 bits
    if not (version.isascii() and version.isdigit() and len(version) < 20):  # noqa: PLR2004
        raise InvalidRequest(
            f"failed to get model version from specified version string '{version}' for '{model}', "
            "version should be an integral value > 0"
        )
    return int(version)
