"""Warnings that may come a thousand times a second."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

_INTERVAL_S: Final = 10.0


class StormLog:
    """Warns of the first of many alike, then every ten seconds of how many more there were, until there were none.

    `what` is the end of the sentence that begins with their number. Everything is called on the event loop.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._timer: asyncio.TimerHandle | None = None
        self._more = 0
        self._last = ""

    def tell(self, text: str, error: BaseException | None = None) -> None:
        """One more happened; the traceback of `error` is written where the text is."""
        if self._timer is not None:
            self._more, self._last = self._more + 1, text
            return
        self._log.warning("%s", text, exc_info=error)
        self._wait()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL_S, self._interval_over)

    def _interval_over(self) -> None:
        self._timer = None
        if self._more:
            self._log.warning("%d more %s in %.0f s; the last: %s", self._more, self._what, _INTERVAL_S, self._last)
            self._more, self._last = 0, ""
            self._wait()

    def __repr__(self) -> str:
        return f"<StormLog {self._more} more {self._what}>"
