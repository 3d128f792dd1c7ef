"""Streams that last as long as their callers like, ended when their serving process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from gateway.core.grpc_codes import UNAVAILABLE
from gateway.serving.wire.transport.interface import CallEnded

_STOPPING: Final = "the server is stopping: open the stream anew, elsewhere"
T = TypeVar("T")


class OpenStreams:
    """Ends open streams when the server stops.

    Each would hold up the stop for all of its grace otherwise. A stream is ended where it waits for
    its caller or for news, never while a message is on its way out: grpc.aio cannot end a call
    whose sending was cancelled.
    """

    def __init__(self) -> None:
        self._ended = False
        self._waiting: set[asyncio.Task[Any]] = set()

    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns; raises CallEnded with UNAVAILABLE when the server stops.

        It cancels the task that it is awaited in.
        """
        if self._ended:
            coroutine.close()
            raise CallEnded(UNAVAILABLE, _STOPPING)
        task = asyncio.current_task()
        assert task is not None, "streams run as tasks"
        self._waiting.add(task)
        try:
            return await coroutine
        except asyncio.CancelledError:
            # by `end` alone, not by the caller as well
            if task not in self._waiting and task.uncancel() == 0:
                raise CallEnded(UNAVAILABLE, _STOPPING) from None
            raise
        finally:
            self._waiting.discard(task)

    def end(self) -> None:
        """Ends all that wait, and every one that comes to wait later.

        It is to be called before the transport stops.
        """
        self._ended = True
        waiting = self._waiting
        self._waiting = set()
        for task in waiting:
            task.cancel()

    def __repr__(self) -> str:
        return f"<OpenStreams {'ended' if self._ended else f'{len(self._waiting)} waiting'}>"
