"""What the journal of a serving process has to know of a version.

The live version is one; this is what records need of it, without importing it.
"""

from __future__ import annotations

from typing import Protocol

from gateway.core.plan import VersionPlan
from gateway.records.counters import VersionStatistics
from gateway.records.slow_requests import SlowRequests


class CountedVersion(Protocol):
    """A version that requests are routed to, and where they are counted."""

    @property
    def plan(self) -> VersionPlan:
        """The plan that it was made by."""
        ...

    @property
    def row(self) -> int:
        """Its row in the statistics table, which is its number in cells."""
        ...

    @property
    def counts(self) -> VersionStatistics:
        """Where its requests are counted."""
        ...

    @property
    def slowest(self) -> SlowRequests:
        """The limit that its slowest requests are over."""
        ...
