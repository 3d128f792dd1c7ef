"""Which versions are live, agreed by all serving processes; decided in the control process.

A change concerns one model. Its versions are prepared in every process; only when all have them
open and warm is the change committed, and only then anything goes live. A failure or a death before
that aborts it everywhere: what was live stays. A change goes through these states:

    state        what happens                                      what is done          next state
    waiting      there is room for it                              Prepare to all        preparing
    preparing    all have answered, and enough could               Commit to all         committing
                 all have answered, and not enough could           Abort, Settled        -
                 a process dies, and it may be tried again         Abort                 waiting
                 a process dies, and it may not                    Abort, Settled        -
    committing   all have committed or died                        Settled               draining
    draining     all have closed what it took away, or died        Drained               -

What is committed is what counts: a process that comes up is first brought to it
(`gateway.control.lifecycle.process_versions`), and a process that dies owes nothing any more.

Every method takes one thing that happened and returns what is to be done about it, in order.
Nothing here waits, sends or looks at a clock; that is the fleet's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from msgspec.structs import replace

from gateway.control.lifecycle.change_queue import ChangeQueue
from gateway.control.lifecycle.changes import Action, Change, Drained, Joined, Send, Settled
from gateway.control.lifecycle.process_versions import ProcessVersions
from gateway.control.lifecycle.two_phase_state import Transaction
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Abort, Commit, Committed, Prepare, Prepared, Retired


class TwoPhaseCommit:
    """The coordinator of the two-phase commit: the state of all models over all processes.

    `concurrent` changes are prepared at the same time, at most.
    """

    def __init__(self, concurrent: int) -> None:
        self.committed: dict[Key, VersionPlan] = {}
        """The versions that are live, or about to be."""
        self._ids = itertools.count(1)
        self._processes = ProcessVersions(self.committed, self._ids)
        self._queue = ChangeQueue(concurrent, self._processes)
        self._running: dict[int, Transaction] = {}
        self._draining: dict[int, Transaction] = {}

    def __repr__(self) -> str:
        return (
            f"<TwoPhaseCommit {len(self.committed)} live, {self._processes!r}, "
            f"{len(self._running)} changes running, {len(self._queue)} waiting>"
        )

    @property
    def lacking(self) -> dict[Key, dict[int, str]]:
        """Which processes could not open again what is live, by slot, and why each could not."""
        return self._processes.lacking

    def holders(self, key: Key) -> int:
        """How many processes have the version open, or are about to."""
        return self._processes.holders(key)

    # What happens.

    def begin(self, change: Change) -> list[Action]:
        """A change is wanted; the caller begins no other of the model before it has settled."""
        self._queue.add(change)
        return list(self._start_waiting())

    def add(self, slot: int) -> list[Action]:
        """A process has come up; it holds nothing."""
        self._processes.add(slot)
        return list(self._catch_up(slot))

    def remove(self, slot: int) -> list[Action]:
        """A process is gone."""
        if not self._processes.remove(slot):
            return []
        return [*self._forget(slot), *self._start_waiting()]

    def prepared(self, slot: int, message: Prepared) -> list[Action]:
        """A process has opened what it was to open, or could not.

        There are three cases: it answers to a round of its own, to an attempt that was aborted, or
        to one that is being prepared.
        """
        if self._processes.is_catching_up(slot, message.change_id):
            return list(self._processes.commit_round(slot, dict(message.errors)))
        running = self._running.get(message.change_id)
        if running is None:
            self._processes.note_aborted(slot, message.change_id)
            return list(self._start_waiting())
        running.waiting.discard(slot)
        running.slots.add(slot)
        for key, text in message.errors:
            running.errors.setdefault(key, text)
        return [*self._decide(running), *self._start_waiting()]

    def was_committed(self, slot: int, message: Committed) -> list[Action]:
        """A process serves by the change."""
        if self._processes.is_catching_up(slot, message.change_id):
            return list(self._catch_up(slot))
        running = self._running.get(message.change_id)
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

    # From waiting to preparing.

    def _start_waiting(self) -> Iterator[Action]:
        while (change := self._queue.take(self._preparing())) is not None:
            yield from self._start(change)

    def _preparing(self) -> list[Change]:
        return [running.change for running in self._running.values() if running.commit is None]

    def _start(self, change: Change) -> Iterator[Action]:
        plans = {plan.key: plan for plan in change.plans if not self._processes.is_live(plan)}
        joined = self._processes.joined
        running = Transaction(
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

    # From preparing to drained.

    def _decide(self, running: Transaction) -> Iterator[Action]:
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
            running.waiting = set(running.slots)
            running.undrained = set(running.slots)
            yield from self._processes.commit(running, running.commit)
        yield from self._settle(running)

    def _replaced(self, change: Change) -> Iterator[Key]:
        wanted = {plan.key for plan in change.plans}
        if change.replaces:
            yield from (
                key for key in self.committed if key[0] == change.model and key not in wanted
            )

    def _fail(self, running: Transaction) -> Iterator[Action]:
        yield from self._abort(running)
        yield Settled(running.change, errors=tuple(running.errors.items()))

    def _abort(self, running: Transaction) -> Iterator[Action]:
        del self._running[running.id]
        self._processes.note_abort(running.waiting, running.id)
        yield from (
            Send(slot, Abort(running.id)) for slot in sorted(running.slots | running.waiting)
        )

    def _settle(self, running: Transaction) -> Iterator[Action]:
        if running.waiting or running.commit is None or running.id not in self._running:
            return
        del self._running[running.id]
        self._draining[running.id] = running
        errors = tuple(running.errors.items())
        yield Settled(running.change, running.commit.live, running.commit.retire, errors)
        yield from self._drain(running)

    def _drain(self, running: Transaction) -> Iterator[Action]:
        if running.undrained or running.id not in self._draining:
            return
        del self._draining[running.id]
        assert running.commit is not None
        yield Drained(running.change, running.commit.retire)

    # Processes that come and go.

    def _catch_up(self, slot: int) -> Iterator[Action]:
        step = self._processes.next_round(slot)
        if step is not None:
            yield step
            return
        yield Joined(slot)
        for running in self._running.values():
            if running.commit is None:
                running.waiting.add(slot)
                yield Send(slot, Prepare(running.id, tuple(running.plans.values())))
        yield from self._start_waiting()

    def _forget(self, slot: int) -> Iterator[Action]:
        for running in (*self._running.values(), *self._draining.values()):
            concerned = running.leave(slot)
            if running.commit is not None:
                yield from self._settle(running)
                yield from self._drain(running)
            elif concerned:
                yield from self._lose(running)

    def _lose(self, running: Transaction) -> Iterator[Action]:
        """A process died while it prepared: tried again where that is allowed, else a failure."""
        change = running.change
        if change.retries:
            yield from self._abort(running)
            self._queue.put_first(replace(change, retries=change.retries - 1, alone=True))
            return
        for key in running.plans:
            running.errors.setdefault(
                key, "a serving process ended while it opened the version; nothing was changed"
            )
        yield from self._fail(running)
