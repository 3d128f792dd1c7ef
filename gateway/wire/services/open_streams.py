"""Streams that last as long as their callers like."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from gateway.wire.status import UNAVAILABLE
from gateway.wire.transport import CallEnded

_STOPPING: Final = "the server is stopping: open the stream anew, elsewhere"


class OpenStreams:
    """Ends them when the server stops; each would hold up the stop for all of its grace otherwise."""

    def __init__(self) -> None:
        self._ended = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Around the life of a stream, inside its task: when the server stops, the stream is ended at the point where it waits."""
        if self._ended:
            raise CallEnded(UNAVAILABLE, _STOPPING)
        task = asyncio.current_task()
        assert task is not None, "streams run as tasks"
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._ended and task not in self._tasks and task.uncancel() == 0:  # by `end` alone, not by the caller as well
                raise CallEnded(UNAVAILABLE, _STOPPING) from None
            raise
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """Ends all open streams, and every one that comes later, with UNAVAILABLE; to be called once, before the transport stops."""
        self._ended = True
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()

    def __repr__(self) -> str:
        return f"<OpenStreams {'ended' if self._ended else f'{len(self._tasks)} open'}>"
