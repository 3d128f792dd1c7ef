"""What a journal has to know of a version, and where its requests are counted."""

from __future__ import annotations

from typing import Protocol

from gateway.core.plan import VersionPlan
from gateway.records.slow_requests import Slowest


class Counts(Protocol):
    """What is counted of the requests of a version."""

    def record_request(self, elapsed_s: float, queue_s: float) -> None:
        """One was answered; `queue_s` below 0: no batch ran it."""
        ...

    def record_failure(self, reason: int, elapsed_s: float) -> None:
        """One was not; `reason` is its place in `gateway.core.errors.REASONS`."""
        ...

    def record_degraded(self) -> None:
        """A fallback answered one."""
        ...


class Counted(Protocol):
    """A version that requests were resolved to."""

    @property
    def plan(self) -> VersionPlan:
        """What it is."""
        ...

    @property
    def row(self) -> int:
        """Its row in the statistics table, its number in cells."""
        ...

    @property
    def counts(self) -> Counts:
        """Where its requests are counted."""
        ...

    @property
    def slowest(self) -> Slowest:
        """What is slow for it."""
        ...
