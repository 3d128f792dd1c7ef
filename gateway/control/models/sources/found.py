"""What the control process found in a folder of models: plain frozen facts."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.sources.sidecars import Sidecars
from gateway.control.models.sources.version_policy import VersionPolicy, live_versions


class FoundVersion(msgspec.Struct, frozen=True):
    """One numbered version of a model."""

    version: int
    path: Path
    """The model file, absolute."""
    fault: str = ""
    """Why it cannot be served; empty: nothing is known against it."""


class FoundModel(msgspec.Struct, frozen=True):
    """One model: how it is configured, and which versions are there."""

    name: str
    folder: Path
    configuration: ModelConfiguration = msgspec.field(default_factory=ModelConfiguration)
    versions: tuple[FoundVersion, ...] = ()
    """All that are there, ascending."""
    skipped: str = ""
    """Why models of its kind are not served; empty: they are."""
    faults: tuple[str, ...] = ()
    """All reasons found why it cannot be served; empty: nothing is known against it."""
    warnings: tuple[str, ...] = ()
    sidecars: Sidecars = msgspec.field(default_factory=Sidecars)
    alone: bool = False
    """The scanned folder is this model itself."""

    @property
    def fault(self) -> str:
        """All the faults as one text."""
        return "; ".join(self.faults)

    @property
    def policy(self) -> VersionPolicy:
        """The rule for which versions are to be live."""
        return self.configuration.versions or VersionPolicy()

    @property
    def live(self) -> tuple[FoundVersion, ...]:
        """The versions that the policy wants live; none where the model is skipped or at fault."""
        if self.skipped or self.faults:
            return ()
        wanted = live_versions(self.policy, [version.version for version in self.versions])
        return tuple(version for version in self.versions if version.version in wanted)


class Repository(msgspec.Struct, frozen=True, dict=True):
    """What a folder of models held when it was scanned."""

    root: Path
    models: tuple[FoundModel, ...] = ()
    """All models, ascending by name."""
    fault: str = ""
    """Why the folder as a whole serves nothing; empty: it holds models."""
    warnings: tuple[str, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, FoundModel]:
        return {model.name: model for model in self.models}

    def find(self, name: str) -> FoundModel | None:
        """The model of that name; None: there is none."""
        return self._by_name.get(name)

    def __repr__(self) -> str:
        bad = sum(1 for model in self.models if model.faults or model.skipped)
        return f"<Repository {self.root}: {len(self.models)} models, {bad} of them not served>"
