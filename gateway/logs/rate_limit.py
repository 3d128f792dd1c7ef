"""Rate-limited logging, for every process.

The first record of a kind is logged at once, then every ten seconds how many more there were.
"""

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


class _Kind:
    __slots__ = ("extra", "last", "level", "more", "timer", "until", "what")

    def __init__(self, level: int, what: str, extra: Mapping[str, object]) -> None:
        self.level = level
        self.what = what
        self.extra = extra
        self.more = 0
        self.last = ""
        self.until = 0.0
        self.timer: asyncio.TimerHandle | None = None


class RateLimitedLog:
    """Counts records of a kind that has been logged, until ten seconds pass without one.

    Everything is called on the event loop; without a running loop nothing is held back. A loop that
    ends takes its counts with it, so `flush` is called before.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[Hashable, _Kind] = {}

    @property
    def full(self) -> bool:
        """There are so many kinds at once that further ones should be logged as one kind."""
        return len(self._kinds) >= MOST_KINDS

    def counted(self, kind: Hashable, words: str = "") -> bool:
        """Counts one more of the kind; nothing else is to be done about it where this is true.

        False: it is the first of its kind, and the caller logs it and calls `begin`. The `words` of
        the last one counted are logged with the number.
        """
        counted_kind = self._kinds.get(kind)
        if counted_kind is None or time.monotonic() > counted_kind.until:
            return False
        counted_kind.more += 1
        counted_kind.last = words
        return True

    def warning(
        self, kind: Hashable, text: str, what: str, error: BaseException | None = None
    ) -> None:
        """Logs a warning of this kind, or counts it; the first has the traceback of `error`.

        `what` says in the plural what is counted, behind its number.
        """
        if not self.counted(kind, text):
            self._log.warning("%s", text, exc_info=error)
            self.begin(kind, logging.WARNING, what, {})

    def begin(self, kind: Hashable, level: int, what: str, extra: Mapping[str, object]) -> None:
        """Counts records of this kind from here on.

        `what` says in the plural what is counted; it and `extra` go into the record of the number.
        """
        before = self._kinds.pop(kind, None)
        if before is not None:
            self._log_number(before)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        counted_kind = _Kind(level, what, extra)
        self._kinds[kind] = counted_kind
        self._wait(kind, counted_kind, loop)

    def flush(self) -> None:
        """Logs the numbers counted so far, and forgets every kind."""
        kinds = self._kinds
        self._kinds = {}
        for counted_kind in kinds.values():
            if counted_kind.timer is not None:
                counted_kind.timer.cancel()
            self._log_number(counted_kind)

    def _wait(self, kind: Hashable, counted_kind: _Kind, loop: asyncio.AbstractEventLoop) -> None:
        counted_kind.until = time.monotonic() + INTERVAL_S + _LATE_S
        counted_kind.timer = loop.call_later(
            INTERVAL_S, self._interval_over, kind, counted_kind, loop
        )

    def _interval_over(
        self, kind: Hashable, counted_kind: _Kind, loop: asyncio.AbstractEventLoop
    ) -> None:
        if self._kinds.get(kind) is not counted_kind:
            return
        if self._log_number(counted_kind):
            self._wait(kind, counted_kind, loop)
        else:
            del self._kinds[kind]

    def _log_number(self, counted_kind: _Kind) -> bool:
        if not counted_kind.more:
            return False
        last = f"; the last: {printable(counted_kind.last, 1000)}" if counted_kind.last else ""
        self._log.log(
            counted_kind.level,
            "%d more %s within %.0f s%s",
            counted_kind.more,
            counted_kind.what,
            INTERVAL_S,
            last,
            extra=counted_kind.extra,
        )
        counted_kind.more = 0
        counted_kind.last = ""
        return True

    def __repr__(self) -> str:
        return (
            f"<RateLimitedLog {len(self._kinds)} kinds, "
            f"{sum(counted_kind.more for counted_kind in self._kinds.values())} not logged yet>"
        )
