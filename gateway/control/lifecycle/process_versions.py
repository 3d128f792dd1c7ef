"""Which versions each serving process has, against what is committed (control process).

A process that comes up is brought to what is committed in rounds, because that may change
meanwhile. Each round is answered before the next begins; there are three cases:

    it holds what is not committed any more           Commit, which retires that
    it neither holds nor lacks what is committed      Prepare, then Commit of what could be opened
    else                                              it joins: changes are prepared in it too

What it could not open it lacks: it serves without, and is not asked again until a change does so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from gateway.control.lifecycle.changes import Action, Lacking, Send
from gateway.control.lifecycle.two_phase_state import Slot, Transaction
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Commit, Prepare


class ProcessVersions:
    """The serving processes that are up, by slot, as far as the control process knows.

    `committed` is the versions that are live, and `ids` numbers the rounds; both are shared with
    the owner, which changes the first.
    """

    def __init__(self, committed: Mapping[Key, VersionPlan], ids: Iterator[int]) -> None:
        self._committed = committed
        self._ids = ids
        self._slots: dict[int, Slot] = {}

    def __repr__(self) -> str:
        return f"<ProcessVersions {len(self.joined)} of {len(self._slots)} processes joined>"

    @property
    def joined(self) -> set[int]:
        """The slots that take part in changes."""
        return {number for number, slot in self._slots.items() if slot.joined}

    @property
    def are_aborting(self) -> bool:
        """A process may still be opening what was aborted."""
        return any(slot.aborting for slot in self._slots.values())

    @property
    def lacking(self) -> dict[Key, dict[int, str]]:
        """Which processes could not open what is live, by slot, and why each could not."""
        found: dict[Key, dict[int, str]] = {}
        for number, slot in sorted(self._slots.items()):
            for key, plan in slot.lacks.items():
                if self._committed.get(key) == plan:
                    found.setdefault(key, {})[number] = slot.reasons.get(key, "")
        return found

    def holders(self, key: Key) -> int:
        """How many processes have the version open, or are about to."""
        return sum(key in slot.holds for slot in self._slots.values())

    def is_live(self, plan: VersionPlan) -> bool:
        """The version is live with the same content, and no process lacks it."""
        live = self._committed.get(plan.key)
        return (
            live is not None
            and live.fingerprint == plan.fingerprint
            and not any(plan.key in slot.lacks for slot in self._slots.values())
        )

    # Processes that come and go.

    def add(self, number: int) -> None:
        """A process has come up; it holds nothing."""
        self._slots[number] = Slot()

    def remove(self, number: int) -> bool:
        """A process is gone; false where it was not known."""
        return self._slots.pop(number, None) is not None

    def is_catching_up(self, number: int, change_id: int) -> bool:
        """The id is that of the process's round under way, not that of a change."""
        slot = self._slots.get(number)
        return (
            slot is not None
            and slot.catching_up is not None
            and slot.catching_up.change_id == change_id
        )

    def next_round(self, number: int) -> Send | None:
        """What brings the process nearer to what is committed; None: it joins."""
        slot = self._slots[number]
        surplus = tuple(key for key in slot.holds if key not in self._committed)
        missing = tuple(
            plan
            for key, plan in self._committed.items()
            if plan not in (slot.holds.get(key), slot.lacks.get(key))
        )
        if surplus:
            slot.catching_up = Prepare(next(self._ids), ())
            for key in surplus:
                del slot.holds[key]
            return Send(number, Commit(slot.catching_up.change_id, (), surplus))
        if missing:
            slot.catching_up = Prepare(next(self._ids), missing)
            return Send(number, slot.catching_up)
        slot.catching_up = None
        slot.joined = True
        return None

    def commit_round(self, number: int, errors: Mapping[Key, str]) -> Iterator[Action]:
        """Commits what the process could open of its round and is still committed elsewhere."""
        slot = self._slots[number]
        assert slot.catching_up is not None
        wanted = {
            plan.key: plan
            for plan in slot.catching_up.plans
            if self._committed.get(plan.key) == plan
        }
        for key, plan in wanted.items():
            if key in errors:
                slot.lacks[key] = plan
                slot.reasons[key] = errors[key]
            else:
                slot.holds[key] = plan
                slot.lacks.pop(key, None)
        opened = tuple(key for key in wanted if key not in errors)
        yield Send(number, Commit(slot.catching_up.change_id, opened))
        if lacking := tuple((key, errors[key]) for key in wanted if key in errors):
            yield Lacking(number, lacking)

    # Changes.

    def commit(self, attempt: Transaction, commit: Commit) -> Iterator[Send]:
        """Has the commit done in every process of the attempt; each retires only what it holds."""
        for number in sorted(attempt.slots):
            slot = self._slots[number]
            retire = tuple(key for key in commit.retire if key in slot.holds)
            for key in commit.retire:
                slot.holds.pop(key, None)
                slot.lacks.pop(key, None)
            for key in commit.live:
                slot.holds[key] = attempt.plans[key]
                slot.lacks.pop(key, None)
            own = commit if retire == commit.retire else replace(commit, retire=retire)
            yield Send(number, own)

    def note_abort(self, numbers: Iterable[int], change_id: int) -> None:
        """These processes were preparing a change that is aborted."""
        for number in numbers:
            self._slots[number].aborting.add(change_id)

    def note_aborted(self, number: int, change_id: int) -> None:
        """The process is done with a change that was aborted."""
        if (slot := self._slots.get(number)) is not None:
            slot.aborting.discard(change_id)
