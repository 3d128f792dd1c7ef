"""The lines of RepositoryIndex, which the control process writes and every process may read."""

from __future__ import annotations

from enum import StrEnum

import msgspec

UNLOADED = "unloaded"
"""Triton's word, the reason of a version that is not served because somebody unloaded it."""


class VersionState(StrEnum):
    """Where a version stands, in the words of RepositoryIndex."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class IndexEntry(msgspec.Struct, frozen=True):
    """One line of RepositoryIndex."""

    model: str
    version: str = ""
    """Empty where the model as a whole cannot be served, or was never loaded."""
    state: VersionState | None = None
    """None: in the repository, never loaded."""
    reason: str = ""


class VersionReport(msgspec.Struct, frozen=True):
    """A line of RepositoryIndex, with what only the control process knows of it."""

    entry: IndexEntry
    since_s: float = 0.0
    """When the version came to stand so, in seconds since 1970; 0: not known."""
    digest: str = ""
    """SHA-256 of the model file that is live; empty: none is."""
    processes: int = 0
    """Serving processes that have the version."""
