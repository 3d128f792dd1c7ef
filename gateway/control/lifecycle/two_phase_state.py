"""What the releases keep of each process and of each change that has begun."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.control.lifecycle.changes import Change
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Commit, Prepare


@dataclass(slots=True)
class Slot:
    """A process that is up."""

    holds: dict[Key, VersionPlan] = field(default_factory=dict)
    lacks: dict[Key, VersionPlan] = field(default_factory=dict)
    """Committed, but it could not be opened here."""
    catching_up: Prepare | None = None
    """The round that is under way, until it is committed."""
    joined: bool = False
    aborting: set[int] = field(default_factory=set)
    """Changes that were aborted while it prepared them: it may yet die of one."""


@dataclass(slots=True)
class Attempt:
    """A change that has begun."""

    id: int
    """On the links.

    Another for every attempt: answers to one that was aborted may still be on their way.
    """
    change: Change
    plans: dict[Key, VersionPlan]
    """Those that must be prepared."""
    waiting: set[int]
    """Slots that have not answered: to Prepare, then to Commit."""
    errors: dict[Key, str] = field(default_factory=dict)
    slots: set[int] = field(default_factory=set)
    """That have it open."""
    commit: Commit | None = None
    undrained: set[int] = field(default_factory=set)
