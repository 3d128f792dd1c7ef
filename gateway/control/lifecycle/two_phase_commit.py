"""Which versions are live, agreed by all serving processes.

Decides, and leaves sending and waiting to the fleet.

A change concerns one model. Its versions are prepared in every process; only when all have them
open and warm is the change committed, and only then anything goes live. A failure or a death before
that aborts it everywhere: what was live stays.

What is committed is what counts. A process that comes up, for the first time or again, is first
brought to it (`Slot.catching_up`) and takes part in changes from then on; a process that dies owes
nothing any more.

Every method takes one thing that happened and returns what is to be done about it, in order.
Nothing here waits, sends or looks at a clock.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from gateway.control.lifecycle.changes import (
    Action,
    Change,
    Drained,
    Joined,
    Lacking,
    Send,
    Settled,
)
from gateway.control.lifecycle.two_phase_state import Attempt, Slot
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Abort, Commit, Committed, Prepare, Prepared, Retired


class Releases:
    """The state of all models over all processes."""

    def __init__(self, concurrent: int) -> None:
        self._concurrent = concurrent
        self.committed: dict[Key, VersionPlan] = {}
        self._slots: dict[int, Slot] = {}
        self._reasons: dict[tuple[int, Key], str] = {}
        self._queue: deque[Change] = deque()
        self._running: dict[int, Attempt] = {}
        self._draining: dict[int, Attempt] = {}
        self._ids = itertools.count(1)

    def __repr__(self) -> str:
        joined = sum(slot.joined for slot in self._slots.values())
        return (
            f"<Releases {len(self.committed)} live, {joined} of {len(self._slots)} processes "
            f"joined, {len(self._running)} changes running, {len(self._queue)} waiting>"
        )

    @property
    def lacking(self) -> dict[Key, dict[int, str]]:
        """Which processes could not open again what is live, and why each could not."""
        found: dict[Key, dict[int, str]] = {}
        for number, slot in sorted(self._slots.items()):
            for key, plan in slot.lacks.items():
                if self.committed.get(key) == plan:
                    found.setdefault(key, {})[number] = self._reasons.get((number, key), "")
        return found

    def is_held(self, key: Key) -> bool:
        """A process has the version open, or is about to."""
        return any(key in slot.holds for slot in self._slots.values())

    # What happens.

    def begin(self, change: Change) -> list[Action]:
        """A change is wanted.

        The caller begins no other of the same model before it has settled.
        """
        self._enqueue(change)
        return list(self._start_waiting())

    def add(self, slot: int) -> list[Action]:
        """A process has come up; it holds nothing."""
        self._slots[slot] = Slot()
        return list(self._catch_up(slot))

    def remove(self, slot: int) -> list[Action]:
        """A process is gone."""
        if self._slots.pop(slot, None) is None:
            return []
        self._reasons = {of: text for of, text in self._reasons.items() if of[0] != slot}
        return [*self._forget(slot), *self._start_waiting()]

    def prepared(self, slot: int, message: Prepared) -> list[Action]:
        """A process has opened what it was told to, or could not."""
        state = self._slots.get(slot)
        running = self._running.get(message.change_id)
        if (
            state is not None
            and state.catching_up is not None
            and state.catching_up.change_id == message.change_id
        ):
            return list(self._commit_catch_up(slot, state, dict(message.errors)))
        if running is None:
            if state is not None:
                state.aborting.discard(message.change_id)
            return list(self._start_waiting())
        running.waiting.discard(slot)
        running.slots.add(slot)
        for key, text in message.errors:
            running.errors.setdefault(key, text)
        return [*self._decide(running), *self._start_waiting()]

    def was_committed(self, slot: int, message: Committed) -> list[Action]:
        """A process serves by the change."""
        state = self._slots.get(slot)
        running = self._running.get(message.change_id)
        if (
            state is not None
            and state.catching_up is not None
            and state.catching_up.change_id == message.change_id
        ):
            return list(self._catch_up(slot))
        if running is None or running.commit is None:
            return []
        running.waiting.discard(slot)
        return [*self._settle(running), *self._start_waiting()]

    def retired(self, slot: int, message: Retired) -> list[Action]:
        """A process has closed what the change took away."""
        running = self._running.get(message.change_id) or self._draining.get(message.change_id)
        if running is None or running.commit is None:
            return []
        running.undrained.discard(slot)
        return list(self._drain(running))

    # The start of changes.

    def _enqueue(self, change: Change) -> None:
        if change.together or not change.plans:
            # a caller waits for it; the others are the start-up pass or a look at the repository
            self._queue.appendleft(change)
        else:
            self._queue.append(change)

    def _start_waiting(self) -> Iterator[Action]:
        while self._queue and self._may_start(self._queue[0]):
            yield from self._start(self._queue.popleft())

    def _may_start(self, change: Change) -> bool:
        """With no process to ask only an unload can be decided."""
        if change.plans and not any(slot.joined for slot in self._slots.values()):
            return False
        preparing = [running for running in self._running.values() if running.commit is None]
        if any(running.change.alone for running in preparing):
            return False
        if change.alone:
            return not preparing and not any(slot.aborting for slot in self._slots.values())
        return len(preparing) < self._concurrent

    def _start(self, change: Change) -> Iterator[Action]:
        plans = {plan.key: plan for plan in change.plans if not self._is_live(plan)}
        joined = {number for number, slot in self._slots.items() if slot.joined}
        running = Attempt(
            next(self._ids),
            change,
            plans,
            waiting=joined if plans else set(),
            slots=set() if plans else joined,
        )
        self._running[running.id] = running
        if plans:
            prepare = Prepare(running.id, tuple(plans.values()))
            yield from (Send(slot, prepare) for slot in sorted(joined))
        else:
            yield from self._decide(running)

    def _is_live(self, plan: VersionPlan) -> bool:
        live = self.committed.get(plan.key)
        return (
            live is not None
            and live.fingerprint == plan.fingerprint
            and not any(plan.key in slot.lacks for slot in self._slots.values())
        )

    # From prepared to settled.

    def _decide(self, running: Attempt) -> Iterator[Action]:
        if running.waiting:
            return
        live = tuple(key for key in running.plans if key not in running.errors)
        if running.errors and (running.change.together or not live):
            yield from self._fail(running)
            return
        retire = () if running.errors else tuple(self._replaced(running.change))
        for key in retire:
            del self.committed[key]
        self.committed.update((key, running.plans[key]) for key in live)
        running.commit = Commit(running.id, live, retire)
        if live or retire:
            yield from self._commit(running, running.commit)
        yield from self._settle(running)

    def _replaced(self, change: Change) -> Iterator[Key]:
        wanted = {plan.key for plan in change.plans}
        if change.replaces:
            yield from (
                key for key in self.committed if key[0] == change.model and key not in wanted
            )

    def _commit(self, running: Attempt, commit: Commit) -> Iterator[Action]:
        running.waiting = set(running.slots)
        running.undrained = set(running.slots)
        for number in sorted(running.slots):
            slot = self._slots[number]
            retire = tuple(key for key in commit.retire if key in slot.holds)
            for key in commit.retire:
                slot.holds.pop(key, None)
                slot.lacks.pop(key, None)
            for key in commit.live:
                slot.holds[key] = running.plans[key]
                slot.lacks.pop(key, None)
            yield Send(
                number, commit if retire == commit.retire else replace(commit, retire=retire)
            )

    def _fail(self, running: Attempt) -> Iterator[Action]:
        yield from self._abort(running)
        yield Settled(running.change, errors=tuple(running.errors.items()))

    def _abort(self, running: Attempt) -> Iterator[Action]:
        del self._running[running.id]
        for slot in running.waiting:
            self._slots[slot].aborting.add(running.id)
        yield from (
            Send(slot, Abort(running.id)) for slot in sorted(running.slots | running.waiting)
        )

    def _settle(self, running: Attempt) -> Iterator[Action]:
        if running.waiting or running.commit is None or running.id not in self._running:
            return
        del self._running[running.id]
        self._draining[running.id] = running
        yield Settled(
            running.change,
            running.commit.live,
            running.commit.retire,
            tuple(running.errors.items()),
        )
        yield from self._drain(running)

    def _drain(self, running: Attempt) -> Iterator[Action]:
        if running.undrained or running.id not in self._draining:
            return
        del self._draining[running.id]
        assert running.commit is not None
        yield Drained(running.change, running.commit.retire)

    # Processes that come and go.

    def _catch_up(self, number: int) -> Iterator[Action]:
        """Brings a process nearer to what is committed, in rounds: it may change meanwhile.

        What the process lacks was tried before.
        """
        slot = self._slots[number]
        surplus = tuple(key for key in slot.holds if key not in self.committed)
        missing = tuple(
            plan
            for key, plan in self.committed.items()
            if plan not in (slot.holds.get(key), slot.lacks.get(key))
        )
        if surplus:
            slot.catching_up = Prepare(next(self._ids), ())
            for key in surplus:
                del slot.holds[key]
            yield Send(number, Commit(slot.catching_up.change_id, (), surplus))
        elif missing:
            slot.catching_up = Prepare(next(self._ids), missing)
            yield Send(number, slot.catching_up)
        else:
            slot.catching_up = None
            yield from self._join(number, slot)

    def _commit_catch_up(self, number: int, slot: Slot, errors: dict[Key, str]) -> Iterator[Action]:
        assert slot.catching_up is not None
        wanted = {
            plan.key: plan
            for plan in slot.catching_up.plans
            if self.committed.get(plan.key) == plan
        }
        for key, plan in wanted.items():
            if key in errors:
                slot.lacks[key] = plan
                self._reasons[number, key] = errors[key]
            else:
                slot.holds[key] = plan
                slot.lacks.pop(key, None)
        yield Send(
            number,
            Commit(slot.catching_up.change_id, tuple(key for key in wanted if key not in errors)),
        )
        if lacking := tuple((key, errors[key]) for key in wanted if key in errors):
            yield Lacking(number, lacking)

    def _join(self, number: int, slot: Slot) -> Iterator[Action]:
        """From here on it takes part, also in what is being prepared already."""
        slot.joined = True
        yield Joined(number)
        for running in self._running.values():
            if running.commit is None:
                running.waiting.add(number)
                yield Send(number, Prepare(running.id, tuple(running.plans.values())))
        yield from self._start_waiting()

    def _forget(self, slot: int) -> Iterator[Action]:
        for running in (*self._running.values(), *self._draining.values()):
            concerned = slot in running.waiting or slot in running.slots
            running.waiting.discard(slot)
            running.slots.discard(slot)
            running.undrained.discard(slot)
            if running.commit is not None:
                yield from self._settle(running)
                yield from self._drain(running)
            elif concerned:
                yield from self._lose(running)

    def _lose(self, running: Attempt) -> Iterator[Action]:
        """A process died while it prepared the change.

        Once more where that is allowed, else a failure.
        """
        change = running.change
        if change.retries:
            yield from self._abort(running)
            self._queue.appendleft(replace(change, retries=change.retries - 1, alone=True))
            return
        for key in running.plans:
            running.errors.setdefault(
                key, "a serving process ended while it opened the version; nothing was changed"
            )
        yield from self._fail(running)
