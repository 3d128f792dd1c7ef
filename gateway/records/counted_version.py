"""What a journal has to know of a version, and where its requests are counted."""

from __future__ import annotations

from typing import Protocol

from gateway.core.plan import VersionPlan
from gateway.records.counters import VersionStatistics
from gateway.records.slow_requests import SlowRequests


class CountedVersion(Protocol):
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
    def counts(self) -> VersionStatistics:
        """Where its requests are counted."""
        ...

    @property
    def slowest(self) -> SlowRequests:
        """What is slow for it."""
        ...
