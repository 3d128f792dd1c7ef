"""What the control process knows of each model, and what RepositoryIndex answers of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.control.models.sources.source import SourceModel
from gateway.ipc.repository_index import UNLOADED, IndexEntry, VersionState


@dataclass(slots=True)
class ModelRecord:
    """One model: as found, as wanted, and as it is; owned by `ModelControl`."""

    name: str
    found: SourceModel | None = None
    """None: it is not in the repository."""
    configuration: str = ""
    """What a caller sent with the load in place of the repository's; empty: nothing."""
    wanted: bool = False
    """It is to be loaded: by the mode, or by a caller."""
    fingerprint: str | None = None
    """The fingerprint at the last attempt to load it; None: there was none."""
    loading: tuple[int, ...] = ()
    live: set[int] = field(default_factory=set)
    draining: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    """Versions that have been served and are not any more."""
    errors: dict[int, str] = field(default_factory=dict)
    """Why versions could not be loaded at the last attempt."""
    fault: str = ""
    """Why the model as a whole could not be loaded."""
    lacking: dict[int, str] = field(default_factory=dict)
    """Live versions that processes could not open again after a restart, and why."""
    held_nowhere: set[int] = field(default_factory=set)
    """The lacking versions that no process has."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the task that changes the model: one change at a time."""

    @property
    def failed(self) -> bool:
        """The last attempt to load it did not do all that was wanted."""
        return bool(self.fault or self.errors)

    @property
    def skipped(self) -> bool:
        """It is of a kind that is not served, and no version loaded before it became so is live."""
        return self.found is not None and bool(self.found.skipped) and not self.live

    @property
    def serving(self) -> set[int]:
        """Versions that a process can answer with."""
        return self.live - self.held_nowhere

    @property
    def queued(self) -> set[int]:
        """Versions whose turn to be loaded has not come yet."""
        return (
            set(self.found.versions)
            if self.found is not None and self.wanted and self.fingerprint is None
            else set()
        )

    def load_failure(self) -> str:
        """The error's text for the caller of a load."""
        reasons = [
            f"version {version} is at UNAVAILABLE state: {text}"
            for version, text in sorted(self.errors.items())
        ]
        serving = "; what served before goes on" if self.live else ""
        return f"failed to load '{self.name}', {self.fault or '; '.join(reasons)}{serving}"


def index_entries(records: Iterable[ModelRecord]) -> tuple[IndexEntry, ...]:
    """The lines of RepositoryIndex, by model and version."""
    return tuple(
        entry
        for record in sorted(records, key=lambda record: record.name)
        for entry in _entries(record)
    )


def all_ready(records: Iterable[ModelRecord]) -> bool:
    """Every model that is wanted, and of a kind that is served, is live in every process."""
    return all(
        record.live and not record.lacking
        for record in records
        if record.wanted and not record.skipped
    )


def _entries(record: ModelRecord) -> Iterator[IndexEntry]:
    versions = (
        record.live
        | record.draining
        | set(record.loading)
        | record.queued
        | record.errors.keys()
        | record.gone
    )
    for version in sorted(versions):
        yield IndexEntry(record.name, str(version), *_state(record, version))
    if not versions and record.fault:
        yield IndexEntry(record.name, "", VersionState.UNAVAILABLE, record.fault)
    elif not versions:
        yield IndexEntry(record.name, "", VersionState.LOADING if record.wanted else None)


def _state(record: ModelRecord, version: int) -> tuple[VersionState, str]:
    """The version's state and the reason for it; the first case that holds counts."""
    if version in record.lacking:
        nowhere = version in record.held_nowhere
        state = VersionState.UNAVAILABLE if nowhere else VersionState.READY
        return state, record.lacking[version]
    if version in record.live:
        return VersionState.READY, _last_failure(record, version)
    if version in record.draining:
        return VersionState.UNLOADING, ""
    if version in record.loading or version in record.queued:
        return VersionState.LOADING, ""
    if version in record.errors:
        return VersionState.UNAVAILABLE, record.errors[version]
    return VersionState.UNAVAILABLE, UNLOADED


def _last_failure(record: ModelRecord, version: int) -> str:
    """Why a version that serves is not the newest there is of it."""
    failure = record.errors.get(version) or record.fault
    return f"serves as it was loaded before; the last load failed: {failure}" if failure else ""
