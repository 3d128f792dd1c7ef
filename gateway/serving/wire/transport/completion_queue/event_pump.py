"""Brings the completion queue's events to the event loop of a serving process.

One thread blocks on the queue only while the loop is idle. It hands over the first event of a burst
and then waits; the loop takes the rest with poll(0). So the GIL and the loop's self-pipe are
touched once a burst, not once an event: two threads that both run are a sixth slower.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Final

from grpc._cython import cygrpc

_BURST: Final = 200  # events before the rest of the loop gets its turn
_TIMEOUT = cygrpc.CompletionType.queue_timeout
_SHUTDOWN = cygrpc.CompletionType.queue_shutdown
_log = logging.getLogger(__name__)


class EventPump:
    """Calls every event's tag with the event, on the loop, until the queue has shut down."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._over = False  # the loop has taken the queue's last event
        # held while the loop drains: the thread waits for it before it polls again
        self._idle = threading.Lock()
        self._thread = threading.Thread(
            target=self._wait_for_bursts, name="completion-queue", daemon=True
        )
        self._draining = False
        self._was_empty = True
        self.emptied: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Begins to deliver events."""
        self._idle.acquire()
        self._thread.start()

    def was_empty(self) -> bool:
        """Whether there was a moment without a waiting event since this was asked last.

        A queue in which nothing happens is empty all the time.
        """
        was = self._was_empty
        self._was_empty = not self._draining
        return was

    def join(self) -> None:
        """Waits for the thread, which ends with the queue's last event.

        The queue must not be freed before.
        """
        self._thread.join()

    def _wait_for_bursts(self) -> None:
        while True:
            event = self._queue.poll()
            last = event.completion_type == _SHUTDOWN
            self._loop.call_soon_threadsafe(self._drain, event)
            event = None  # or the call in it lives until the next burst
            if last:
                return
            self._idle.acquire()
            if self._over:
                return

    def _drain(self, event: Any) -> None:
        poll = self._queue.poll
        deadline = 0
        self._draining = True
        for _ in range(_BURST):
            kind = event.completion_type
            if kind == _TIMEOUT:
                self._draining = False
                self._was_empty = True
                self._idle.release()
                return
            if kind == _SHUTDOWN:
                self._over = True
                self._idle.release()
                self.emptied.set_result(None)
                return
            try:
                event.tag(event)
            except Exception:  # noqa: BLE001  # one bad event must not end the serving
                _log.exception("An event of the completion queue was not handled. This is a bug.")
            event = poll(deadline)
        self._loop.call_soon(self._drain, event)
