"""Logs what became live and what drained, a line for each change, in the control process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from gateway.control.lifecycle.changes import Drained, Settled
from gateway.core.plan import Key

log = logging.getLogger(__name__)

PATIENCE_S: Final = 1.0
"""Seconds that the line of a change waits for the end of the draining.

What drains longer has a line of its own.
"""


class ChangeLog:
    """Told by `ModelLoading` how each change ends; `holders` counts the processes of a version."""

    def __init__(self, holders: Callable[[Key], int], patience_s: float = PATIENCE_S) -> None:
        self._holders = holders
        self._patience_s = patience_s
        self._draining: dict[int, _Draining] = {}

    def __repr__(self) -> str:
        return f"<ChangeLog {len(self._draining)} changes draining>"

    def settled(self, end: Settled, live_before: Collection[int]) -> None:
        """A change holds in every process; `live_before`: the model's versions before it."""
        live = _numbers(end.live)
        retired = _numbers(end.retired)
        replaced = [version for version in live if version in live_before]
        happened = self._live_text(end) if live else f"{versions(retired)} no longer live"
        if not live and not retired:
            return
        if not retired and not replaced:
            log.info("%s: %s", end.change.model, happened)
            return
        drains = (versions(retired, "") or "what it replaced") if live else ""
        self._draining[end.change.id] = _Draining(
            end.change.model, happened, drains, self._patience_s
        )

    def drained(self, end: Drained) -> None:
        """What the change took away has answered its last call in every process."""
        if (draining := self._draining.pop(end.change.id, None)) is not None:
            draining.end()

    def _live_text(self, end: Settled) -> str:
        processes = max(map(self._holders, end.live), default=0)
        where = "1 process" if processes == 1 else f"{processes} processes"
        return f"{versions(_numbers(end.live))} live in {where}"


class _Draining:
    """A change whose line waits, as a rule for milliseconds."""

    def __init__(self, model: str, happened: str, drains: str, patience_s: float) -> None:
        self._model = model
        self._happened = happened
        self._drains = drains
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._timer = self._loop.call_later(patience_s, self._lose_patience)

    def end(self) -> None:
        self._timer.cancel()
        took_s = self._loop.time() - self._began_s
        happened = f"{self._happened}, " if self._happened else ""
        drained = f"{self._drains} drained".lstrip()
        log.info("%s: %s%s (%.2f s)", self._model, happened, drained, took_s)

    def _lose_patience(self) -> None:
        still = f"{self._drains} still answers calls".lstrip()
        log.info("%s: %s, %s", self._model, self._happened, still)
        self._happened = ""


def versions(numbers: Collection[int], verb: str = "is are") -> str:
    """`version 2 is`, `versions 1, 2 are`; empty where there is none."""
    if not numbers:
        return ""
    one, *many = verb.split() or ("",)
    what = "version" if len(numbers) == 1 else "versions"
    chosen = one if len(numbers) == 1 or not many else many[0]
    return f"{what} {', '.join(map(str, sorted(numbers)))} {chosen}".rstrip()


def _numbers(keys: Collection[Key]) -> list[int]:
    return sorted(version for _, version in keys)
