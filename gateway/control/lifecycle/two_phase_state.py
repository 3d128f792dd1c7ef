"""What the control process keeps of each serving process, and of each change that has begun."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.control.lifecycle.changes import Change
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Commit, Prepare


@dataclass(slots=True)
class Slot:
    """A serving process that is up; owned by `ProcessVersions`."""

    holds: dict[Key, VersionPlan] = field(default_factory=dict)
    """Versions that it has open, or is about to."""
    lacks: dict[Key, VersionPlan] = field(default_factory=dict)
    """Committed versions that it could not open."""
    reasons: dict[Key, str] = field(default_factory=dict)
    """Why it could not open them."""
    catching_up: Prepare | None = None
    """The round that is under way, until it is committed."""
    joined: bool = False
    """It takes part in changes."""
    aborting: set[int] = field(default_factory=set)
    """Changes that were aborted while it prepared them: it may yet die of one."""


@dataclass(slots=True)
class Transaction:
    """A change that is being carried out; owned by `TwoPhaseCommit`."""

    id: int
    """Its number on the links.

    Each attempt has another one: answers to one that was aborted may still be on their way.
    """
    change: Change
    plans: dict[Key, VersionPlan]
    """Versions that must be prepared."""
    waiting: set[int]
    """Slots that have not answered yet: to Prepare at first, then to Commit."""
    errors: dict[Key, str] = field(default_factory=dict)
    """Versions that a process could not open, with the first reason given."""
    slots: set[int] = field(default_factory=set)
    """Slots that have answered to Prepare."""
    commit: Commit | None = None
    """None: it is still being prepared."""
    undrained: set[int] = field(default_factory=set)
    """Slots that have not closed yet what the commit took away."""

    def leave(self, slot: int) -> bool:
        """Expects nothing of a process any more; true where it had a part in the change."""
        concerned = slot in self.waiting or slot in self.slots
        self.waiting.discard(slot)
        self.slots.discard(slot)
        self.undrained.discard(slot)
        return concerned
