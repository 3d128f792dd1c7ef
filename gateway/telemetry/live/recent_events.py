"""What happened to the gateway lately, as the telemetry process lists it on its page.

For example, breakers moved, workers and processes ended, versions became live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from gateway.ipc.repository_index import VersionState
from gateway.ipc.telemetry_messages import Overview
from gateway.records.reader import Chunk

KEPT: Final = 100
_LONGEST_TEXT: Final = 400

RecentEvent = dict[str, object]


class RecentEvents:
    """Keeps the last events: those that processes wrote, and what differs between two overviews."""

    def __init__(self) -> None:
        self._kept: deque[tuple[float, RecentEvent]] = deque(maxlen=KEPT)

    def consume(self, chunk: Chunk, epoch_s: float) -> None:
        """Keeps what a serving process decided.

        `epoch_s`: the Unix time of the monotonic clock's zero.
        """
        for each in chunk.state_changes:
            event = _event_of(
                each.what,
                each.text[:_LONGEST_TEXT],
                model=each.model,
                version=str(each.version or ""),
                instance=each.instance,
                state=each.state,
            )
            self._keep(epoch_s + each.at_ns / 1e9, chunk.slot, event)

    def on_event(self, before: Overview, after: Overview, now_s: float) -> None:
        """Keeps what has changed in the gateway between two overviews."""
        for event in (
            *_phases(before, after),
            *_processes(before, after),
            *_versions(before, after),
        ):
            self._keep(now_s, None, event)

    def newest_first(self) -> list[RecentEvent]:
        """All of them, as JSON has them."""
        return [event for _, event in sorted(self._kept, key=lambda kept: -kept[0])]

    def _keep(self, at_s: float, process: int | None, event: RecentEvent) -> None:
        self._kept.appendleft((at_s, {"at_s": round(at_s, 3), "process": process, **event}))

    def __repr__(self) -> str:
        return f"<RecentEvents {len(self._kept)}>"


def _event_of(
    what: str, text: str, *, model: str = "", version: str = "", instance: str = "", state: str = ""
) -> RecentEvent:
    return {
        "what": what,
        "model": model,
        "version": version,
        "instance": instance,
        "state": state,
        "text": text,
    }


def _phases(before: Overview, after: Overview) -> Iterator[RecentEvent]:
    if before.phase != after.phase:
        yield _event_of("gateway", f"the gateway is {after.phase}", state=after.phase)


def _processes(before: Overview, after: Overview) -> Iterator[RecentEvent]:
    known = {process.slot: process for process in before.processes}
    for process in after.processes:
        was = known.get(process.slot)
        if was is not None and (was.state, was.restarts) != (process.state, process.restarts):
            reason = f": {process.reason}" if process.reason and process.state != "serving" else ""
            yield _event_of(
                "process", f"process {process.slot} is {process.state}{reason}", state=process.state
            )


def _versions(before: Overview, after: Overview) -> Iterator[RecentEvent]:
    known = {(entry.model, entry.version): entry for entry in before.index}
    found = {(entry.model, entry.version): entry for entry in after.index}
    for key, entry in found.items():
        was = known.get(key)
        if (was.state if was else None) != entry.state:
            yield _event_of(
                "version",
                entry.reason[:_LONGEST_TEXT],
                model=key[0],
                version=key[1],
                state=state_word(entry.state),
            )
    for model, version in known.keys() - found.keys():
        yield _event_of(
            "version", "not in the repository any more", model=model, version=version, state="GONE"
        )


def state_word(state: VersionState | None) -> str:
    """The state of a version as JSON has it."""
    return state.value if state is not None else "NOT_LOADED"
