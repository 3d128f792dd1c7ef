"""A change of one model, and what the control process does about it.

`TwoPhaseCommit` decides on these actions and the fleet carries them out.
"""

from __future__ import annotations

import msgspec

from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Abort, Commit, Prepare


class Change(msgspec.Struct, frozen=True):
    """What one model is to become."""

    id: int
    """Given by the caller, who knows the change by it when it settles."""
    model: str
    plans: tuple[VersionPlan, ...] = ()
    """Versions that are to be live; those that are live already are left alone.

    Empty: the model is unloaded.
    """
    together: bool = False
    """All versions go live or none; else each that can."""
    replaces: bool = True
    """Live versions that are not among the plans are retired, once every plan is live."""
    retries: int = 0
    """How often it is tried again, alone, after a process died while it prepared the change.

    The process need not have died of this change.
    """
    alone: bool = False
    """Nothing else is prepared meanwhile, so that a death shows which model it was of."""


class Send(msgspec.Struct, frozen=True):
    """The message is to be sent to the process of the slot."""

    slot: int
    message: Prepare | Commit | Abort


class Settled(msgspec.Struct, frozen=True):
    """The change is over: live in every process, or in none where `errors` says so."""

    change: Change
    live: tuple[Key, ...] = ()
    """Put live by the change."""
    retired: tuple[Key, ...] = ()
    """Taken away by the change; they may still be answering their last calls."""
    errors: tuple[tuple[Key, str], ...] = ()


class Drained(msgspec.Struct, frozen=True):
    """What the change took away or replaced has answered its last call in every process."""

    change: Change
    retired: tuple[Key, ...]


class Joined(msgspec.Struct, frozen=True):
    """A process has all that is committed, and takes part in changes from here on."""

    slot: int


class Lacking(msgspec.Struct, frozen=True):
    """A process could not open again what is live elsewhere, and serves without it."""

    slot: int
    errors: tuple[tuple[Key, str], ...]


class Left(msgspec.Struct, frozen=True):
    """A process is gone, and with it all that it held and lacked."""

    slot: int


Action = Send | Settled | Drained | Joined | Lacking
Event = Settled | Drained | Joined | Lacking | Left
"""What the fleet's observers are called with."""
