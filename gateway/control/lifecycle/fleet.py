"""The serving processes as one, for the rest of the control process.

The fleet carries out what `TwoPhaseCommit` decides, and knows when all processes have agreed. The
supervisor, which starts and restarts them, attaches their links here, detaches them, and passes on
their messages.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping

from gateway.control.lifecycle.changes import (
    Action,
    Change,
    Event,
    Joined,
    Lacking,
    Left,
    Send,
    Settled,
)
from gateway.control.lifecycle.forced_breakers import ForcedBreakers
from gateway.control.lifecycle.two_phase_commit import TwoPhaseCommit
from gateway.core.plan import Key, VersionPlan
from gateway.core.setting_value import Setting
from gateway.ipc.channel import Channel
from gateway.ipc.framing import encode
from gateway.ipc.messages import (
    BreakerReport,
    Committed,
    Listen,
    Prepared,
    Publish,
    Published,
    Retired,
    ToControl,
    ToServing,
)
from gateway.ipc.repository_index import IndexEntry

log = logging.getLogger(__name__)

NO_SETTINGS: Mapping[str, Setting] = {}


class Fleet:
    """All serving processes that are up, by slot; `concurrent_loads` changes run at once."""

    def __init__(self, concurrent_loads: int) -> None:
        self._two_phase_commit = TwoPhaseCommit(concurrent_loads)
        self._observers: list[Callable[[Event], None]] = []
        self._channels: dict[int, Channel] = {}
        self.breakers = ForcedBreakers(self._channels.keys(), self.broadcast)
        self._asked_to_listen: set[int] = set()
        self._change_ids = itertools.count(1)
        self._changes: dict[int, asyncio.Future[Settled]] = {}
        self._publication: Publish | None = None
        self._published: dict[int, int] = {}
        self._agreements: list[tuple[int, asyncio.Future[None]]] = []

    def __repr__(self) -> str:
        return f"<Fleet of {len(self._channels)}: {self._two_phase_commit!r}>"

    @property
    def live(self) -> Mapping[Key, VersionPlan]:
        """The versions that every process has, or is about to have."""
        return self._two_phase_commit.committed

    @property
    def lacking(self) -> Mapping[Key, Mapping[int, str]]:
        """Which processes serve without a version that is live elsewhere, by slot, and why."""
        return self._two_phase_commit.lacking

    def holders(self, key: Key) -> int:
        """How many processes have the version open, or are about to."""
        return self._two_phase_commit.holders(key)

    def observe(self, on_event: Callable[[Event], None]) -> None:
        """Calls back at every end of a change, and when a process joins, lacks or leaves.

        The calls come in the order in which these things happen.
        """
        self._observers.append(on_event)

    # Processes.

    def attach(self, slot: int, channel: Channel) -> None:
        """A process has come up.

        It listens at once where no other process does, else when it has all that the others serve.
        """
        self._channels[slot] = channel
        self._published[slot] = 0
        if self._publication is not None:
            channel.send(self._publication)
        if not self._asked_to_listen:
            self._listen(slot)
        self._do(self._two_phase_commit.add(slot))

    def detach(self, slot: int) -> None:
        """A process is gone."""
        if self._channels.pop(slot, None) is not None:
            self._asked_to_listen.discard(slot)
            del self._published[slot]
            self.breakers.on_leave(slot)
            self._do(self._two_phase_commit.remove(slot))
            self._notify(Left(slot))
            self._settle_agreements()

    def receive(self, slot: int, message: ToControl) -> None:
        """A process has sent a message about changes, publications or circuit breakers."""
        match message:
            case Prepared():
                self._do(self._two_phase_commit.prepared(slot, message))
            case Committed():
                self._do(self._two_phase_commit.was_committed(slot, message))
            case Retired():
                self._do(self._two_phase_commit.retired(slot, message))
            case Published(sequence):
                self._published[slot] = sequence
                self._settle_agreements()
            case BreakerReport():
                self.breakers.reported(slot, message)

    def broadcast(self, message: ToServing) -> None:
        """Sends the message to every process."""
        frame = encode(message)
        for channel in self._channels.values():
            channel.send_encoded(frame)

    # What all are to agree on.

    async def change(
        self,
        model: str,
        plans: Iterable[VersionPlan] = (),
        *,
        together: bool,
        replaces: bool = True,
        retries: int = 0,
    ) -> Settled:
        """Makes the plans live in every process; returns when that is settled.

        The arguments are those of `Change`. No other change of the model may be under way.
        """
        change = Change(next(self._change_ids), model, tuple(plans), together, replaces, retries)
        settled = asyncio.get_running_loop().create_future()
        self._changes[change.id] = settled
        self._do(self._two_phase_commit.begin(change))
        return await asyncio.shield(settled)

    async def publish(
        self,
        *,
        ready: bool,
        index: tuple[IndexEntry, ...],
        trace_settings: Mapping[str, Setting] = NO_SETTINGS,
        log_settings: Mapping[str, Setting] = NO_SETTINGS,
        trace_changes: Mapping[str, Setting] = NO_SETTINGS,
    ) -> None:
        """Publishes to every process, and to those that come up later; see `Publish`.

        Returns when all that are up answer by it. Forced circuit breakers are published as well.
        """
        sequence = self._publication.sequence + 1 if self._publication is not None else 1
        self._publication = Publish(
            sequence,
            ready,
            index,
            trace_settings,
            log_settings,
            self.breakers.forced,
            trace_changes,
        )
        self.broadcast(self._publication)
        agreed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._agreements.append((sequence, agreed))
        self._settle_agreements()
        await agreed

    def _do(self, actions: Iterable[Action]) -> None:
        frames: dict[int, bytes] = {}  # a message to several is pickled once
        for action in actions:
            if isinstance(action, Send):
                message = action.message
                frame = frames.get(id(message)) or frames.setdefault(id(message), encode(message))
                self._channels[action.slot].send_encoded(frame)
                continue
            match action:
                case Joined(slot):
                    self._listen(slot)
                case Lacking():
                    _log_lacking(action)
            self._notify(action)
            if isinstance(action, Settled):
                self._changes.pop(action.change.id).set_result(action)

    def _notify(self, what: Event) -> None:
        for on_event in self._observers:
            on_event(what)

    def _listen(self, slot: int) -> None:
        if slot not in self._asked_to_listen:
            self._asked_to_listen.add(slot)
            self._channels[slot].send(Listen())

    def _settle_agreements(self) -> None:
        lowest = min(self._published.values(), default=0)
        waiting = []
        for sequence, agreed in self._agreements:
            if self._published and sequence > lowest:
                waiting.append((sequence, agreed))
            elif not agreed.done():
                agreed.set_result(None)
        self._agreements = waiting


def _log_lacking(lacking: Lacking) -> None:
    for (model, version), text in lacking.errors:
        log.error(
            "serving process %d could not open %s version %d again and serves without it: %s",
            lacking.slot,
            model,
            version,
            text,
        )
