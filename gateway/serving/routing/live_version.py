"""A version that answers, with what belongs to it; in the serving process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction
from gateway.protocol.codec import VersionCodec
from gateway.records.counters import VersionStatistics
from gateway.records.slow_requests import SlowRequests
from gateway.serving.policies.admission.in_flight import Inside


class LiveVersion:
    """The route to one version: the Predictor around all its predictors.

    A request that comes here is the version's, whatever becomes of it. `inside` is the count that
    its predictors keep; nobody may be inside when it is closed.
    """

    __slots__ = (
        "_close",
        "_inside",
        "_predict",
        "_without_fallback",
        "codec",
        "counts",
        "inner",
        "plan",
        "row",
        "slowest",
        "version",
    )

    def __init__(
        self,
        plan: VersionPlan,
        inner: Predictor,
        codec: VersionCodec,
        *,
        counts: VersionStatistics,
        inside: Inside,
        without_fallback: Predictor,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        """`without_fallback`: the way in for the fallbacks of other versions."""
        self.plan = plan
        self.inner = inner
        self._predict = inner.predict
        self.codec = codec
        self.counts = counts
        self.row = plan.statistics_row
        self.slowest = SlowRequests()
        self.version = self
        self._inside = inside
        self._without_fallback = without_fallback
        self._close = close

    def predict(self, request: InferenceRequest) -> Coroutine[Any, Any, Prediction]:
        """What its predictors answer.

        Not a coroutine of its own, which would cost every request a quarter of a microsecond.
        """
        request.version = self
        return self._predict(request)

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and not ended."""
        return self._inside.count

    def without_fallback(self) -> WithoutFallback:
        """The version without its fallbacks."""
        return WithoutFallback(self.plan, self._without_fallback)

    async def drain(self) -> None:
        """Waits until nobody is inside any more."""
        await self._inside.drained()

    async def close(self) -> None:
        """Lets go of the model; nobody may be inside."""
        await self._close()

    def describe(self) -> Description:
        """The version and what it is made of."""
        name = f"{self.plan.model} version {self.plan.version}"
        return Description(name, f"{self.in_flight} in flight", self.inner.describe())

    def __repr__(self) -> str:
        return f"<LiveVersion {self.plan.model} {self.plan.version}, {self.in_flight} in flight>"


class WithoutFallback:
    """A version without its fallbacks, for the fallbacks of others: a chain cannot loop."""

    __slots__ = ("plan", "predict")

    def __init__(self, plan: VersionPlan, predictor: Predictor) -> None:
        self.plan = plan
        self.predict = predictor.predict
