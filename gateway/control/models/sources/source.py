"""Where models come from, as the control process asks for them."""

from __future__ import annotations

from typing import Protocol

import msgspec

from gateway.core.plan import VersionPlan


class SourceModel(msgspec.Struct, frozen=True):
    """A model as its source shows it."""

    name: str
    versions: tuple[int, ...] = ()
    """Those that are to be live; none where `fault` says why."""
    fault: str = ""
    """Why the model as a whole cannot be served."""
    warnings: tuple[str, ...] = ()
    """About the model as a whole; those of a version stand in its plan."""
    skipped: str = ""
    """Why a model of its kind is not served at all, which is no failure."""
    details: object = None
    """The source's own."""


class CannotPlan(Exception):
    """A version cannot be served; the text says why."""


class Source(Protocol):
    """Whatever offers models: it scans, fingerprints and plans, and serves nothing itself."""

    async def scan(self) -> tuple[SourceModel, ...]:
        """All models that are there; raises OSError where they cannot be read as a whole."""
        ...

    async def reconfigured(self, model: SourceModel, configuration: str) -> SourceModel:
        """The model under Triton's configuration, as JSON, in place of its files'.

        Raises `CannotPlan` where that cannot be read.
        """
        ...

    async def fingerprint(self, model: SourceModel) -> str:
        """A text that stays the same as long as loading the model again would change nothing."""
        ...

    async def plan(self, model: SourceModel, version: int) -> VersionPlan:
        """Inspects the version where that is due, and plans it; raises `CannotPlan`."""
        ...
