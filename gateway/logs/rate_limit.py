"""Records that may come twenty thousand times a second: the first of a kind at once, then every ten seconds how many more there were."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Mapping
from typing import Final

from gateway.logs.redaction import printable

INTERVAL_S: Final = 10.0
MOST_KINDS: Final = 256
_LATE_S: Final = 60.0  # a timer that has not come by then belonged to an event loop that is gone


class _Storm:
    __slots__ = ("extra", "last", "level", "more", "timer", "until", "what")

    def __init__(self, level: int, what: str, extra: Mapping[str, object]) -> None:
        self.level, self.what, self.extra = level, what, extra
        self.more, self.last = 0, ""
        self.until = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Storms:
    """Counts what is of a kind that has been told of, until ten seconds pass without one. Everything is called on the event loop.

    Outside one nothing is held back. A loop that ends takes its counts with it: `tell_rest` says them before.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._storms: dict[Hashable, _Storm] = {}

    @property
    def full(self) -> bool:
        """There are so many kinds at once that further ones had better be told as one."""
        return len(self._storms) >= MOST_KINDS

    def counted(self, kind: Hashable, words: str = "") -> bool:
        """One more, counted and done with; False: the first of its kind, to be told and followed by `begin`. `words`: of the last are told."""
        storm = self._storms.get(kind)
        if storm is None or time.monotonic() > storm.until:
            return False
        storm.more += 1
        storm.last = words
        return True

    def begin(self, kind: Hashable, level: int, what: str, extra: Mapping[str, object]) -> None:
        """From here on those of this kind are counted. `what` they are, and `extra`, stand in the record that tells their number."""
        before = self._storms.pop(kind, None)
        if before is not None:
            self._tell(before)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        storm = self._storms[kind] = _Storm(level, what, extra)
        self._wait(kind, storm, loop)

    def tell_rest(self) -> None:
        """Tells what has been counted so far, and forgets all."""
        storms, self._storms = self._storms, {}
        for storm in storms.values():
            if storm.timer is not None:
                storm.timer.cancel()
            self._tell(storm)

    def _wait(self, kind: Hashable, storm: _Storm, loop: asyncio.AbstractEventLoop) -> None:
        storm.until = time.monotonic() + INTERVAL_S + _LATE_S
        storm.timer = loop.call_later(INTERVAL_S, self._interval_over, kind, storm, loop)

    def _interval_over(self, kind: Hashable, storm: _Storm, loop: asyncio.AbstractEventLoop) -> None:
        if self._storms.get(kind) is not storm:
            return
        if self._tell(storm):
            self._wait(kind, storm, loop)
        else:
            del self._storms[kind]

    def _tell(self, storm: _Storm) -> bool:
        if not storm.more:
            return False
        last = f"; the last: {printable(storm.last, 1000)}" if storm.last else ""
        self._log.log(storm.level, "%d more %s within %.0f s%s", storm.more, storm.what, INTERVAL_S, last, extra=storm.extra)
        storm.more, storm.last = 0, ""
        return True

    def __repr__(self) -> str:
        return f"<Storms {len(self._storms)} kinds, {sum(storm.more for storm in self._storms.values())} untold>"
