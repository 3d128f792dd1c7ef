"""Who is inside a live version: counted, so that a version is closed when the last has left.

Runs in the serving process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.errors import GatewayError
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction
from gateway.records.counters import VersionStatistics


class Inside:
    """The count, shared by all ways into a version."""

    __slots__ = ("_empty", "count")

    def __init__(self) -> None:
        self.count = 0
        self._empty: asyncio.Event | None = None

    def leave(self) -> None:
        """One has left."""
        self.count -= 1
        if self._empty is not None and not self.count:
            self._empty.set()

    async def drained(self) -> None:
        """Returns when nobody is inside any more."""
        if self.count:
            self._empty = self._empty or asyncio.Event()
            await self._empty.wait()

    def __repr__(self) -> str:
        return f"<Inside {self.count}>"


class InFlight:
    """The door of a version: a Predictor that counts who is inside, and signs what comes out.

    What comes out was served by the version that the request had been routed to. Where `counts` is
    given, what fails inside counts as a failure of the version: this is the door of callers. The
    fallbacks of other versions come in by a door without it, for their request is counted where it
    was sent.
    """

    __slots__ = ("_counts", "_inner", "_inside", "_now")

    def __init__(
        self,
        inner: Predictor,
        inside: Inside,
        counts: VersionStatistics | None,
        now: Callable[[], float],
    ) -> None:
        """`now`: seconds of the clock of the requests' arrivals."""
        self._inner = inner
        self._inside = inside
        self._counts = counts
        self._now = now

    async def predict(self, request: InferenceRequest) -> Prediction:
        """What the inside answers."""
        inside = self._inside
        inside.count += 1
        try:
            prediction = await self._inner.predict(request)
        except GatewayError:
            if self._counts is not None:
                self._counts.record_failures(1, int((self._now() - request.arrived) * 1e9))
            raise
        finally:
            inside.leave()
        prediction.served_by = request.version
        return prediction

    def describe(self) -> Description:
        """How many there are, and the inside."""
        return Description("InFlight", f"{self._inside.count} inside", self._inner.describe())

    def __repr__(self) -> str:
        return f"<InFlight {self._inside.count}>"
