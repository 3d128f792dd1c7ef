"""How many requests a second one caller may make; runs in the serving process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from gateway.core.errors import QuotaExceeded
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction

# the caller not seen for longest is forgotten, and starts with a full bucket
_MOST_CALLERS: Final = 10_000


class Buckets:
    """A bucket of tokens for each caller, named by the value of a metadata key.

    Who does not send the key shares one bucket with all such.
    """

    def __init__(self, key: str, per_s: float, burst: float, now: Callable[[], float]) -> None:
        self._key = key.lower()
        self._per_s = per_s
        self._burst = max(1.0, burst or per_s)
        self._now = now
        self._buckets: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def require(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Counts one request of its caller.

        Raises QuotaExceeded where the caller has had its share.
        """
        caller = next((value for key, value in metadata if key == self._key), "")
        now = self._now()
        tokens, at = self._buckets.pop(caller, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_s)
        allowed = tokens >= 1.0
        self._buckets[caller] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise QuotaExceeded(
                f"the quota of this caller ('{self._key}') is used up: {self._per_s:g} requests a "
                f"second here; the next one in {(1.0 - tokens) / self._per_s:.3f} s"
            )

    def __str__(self) -> str:
        return (
            f"each '{self._key}' may make {self._per_s:g} requests a second here, {self._burst:g} "
            f"at once; {len(self._buckets)} callers known"
        )

    def __repr__(self) -> str:
        return f"<Buckets: {self}>"


class Quota:
    """A Predictor that lets in whose caller has not had its share."""

    def __init__(self, inner: Predictor, buckets: Buckets) -> None:
        self._inner = inner
        self._buckets = buckets

    async def predict(self, request: InferenceRequest) -> Prediction:
        """What the inside answers; raises QuotaExceeded."""
        caller = request.caller
        self._buckets.require(caller.metadata() if caller is not None else ())
        return await self._inner.predict(request)

    def describe(self) -> Description:
        """The rate, and the inside."""
        return Description("Quota", str(self._buckets), self._inner.describe())

    def __repr__(self) -> str:
        return f"<Quota {self._buckets!r}>"
