"""A change of one model, and what the releases say is to be done about it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Abort, Commit, Prepare


@dataclass(frozen=True, slots=True)
class Change:
    """What one model is to become."""

    id: int
    """The caller's, to know it by when it settles."""
    model: str
    plans: tuple[VersionPlan, ...] = ()
    """Versions that are to be live; those that are so already are left alone.

    None: the model is unloaded.
    """
    together: bool = False
    """All versions go live or none; else each that can."""
    replaces: bool = True
    """Live versions that are not among the plans go, once every plan is live."""
    retries: int = 0
    """How often it is tried again, by itself.

    When a process dies while preparing it (not necessarily of it).
    """
    alone: bool = False
    """Nothing else is prepared meanwhile: a death then tells which model it was."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to a process."""

    slot: int
    message: Prepare | Commit | Abort


@dataclass(frozen=True, slots=True)
class Settled:
    """The change is over: live in every process, or in none where `errors` says so."""

    change: Change
    live: tuple[Key, ...] = ()
    """Put live by the change."""
    retired: tuple[Key, ...] = ()
    """Taken away by it; they may still be answering their last calls."""
    errors: tuple[tuple[Key, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Drained:
    """What the change took away or replaced has answered its last call in every process."""

    change: Change
    retired: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A process has everything that is committed and takes part from here on."""

    slot: int


@dataclass(frozen=True, slots=True)
class Lacking:
    """A process could not open again what is live elsewhere, and serves without it."""

    slot: int
    errors: tuple[tuple[Key, str], ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A process is gone, and with it all that it had and lacked."""

    slot: int


Action = Send | Settled | Drained | Joined | Lacking
Event = Settled | Drained | Joined | Lacking | Left
"""What is told to who observes the processes."""
