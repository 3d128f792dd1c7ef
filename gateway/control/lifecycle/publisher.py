"""When the control process publishes what every process answers alike.

The publication is kept up to date without a message for each small step.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Publisher:
    """Publishes after changes: soon, and once for many of them, or at once where a caller waits.

    Nothing is published before `open`.
    """

    def __init__(
        self, publish: Callable[[], Coroutine[Any, Any, None]], pause_s: float = 0.5
    ) -> None:
        """`publish` sends the present state to all processes; `pause_s` is how late that may be."""
        self._publish = publish
        self._pause_s = pause_s
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened = False

    def __repr__(self) -> str:
        return (
            f"<Publisher {'opened' if self._opened else 'not opened'}"
            f"{', change pending' if self._timer else ''}>"
        )

    def open(self) -> None:
        """Publishes for the first time, to processes that may still be starting."""
        self._opened = True
        self._begin()

    def soon(self) -> None:
        """Something has changed."""
        if self._opened and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._begin)

    def at_once(self) -> None:
        """Something has changed that no process may learn late."""
        if self._opened:
            self._cancel_timer()
            self._begin()

    async def now(self) -> None:
        """Something has changed; returns when every process answers by it."""
        self._cancel_timer()
        if self._opened:
            await self._publish()

    def close(self) -> None:
        """Ends a pending publication."""
        self._cancel_timer()
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.ensure_future(self._publish())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
