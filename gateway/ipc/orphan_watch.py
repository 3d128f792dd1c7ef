"""Ends a serving process or telemetry process that has outlived its supervisor."""

from __future__ import annotations

import os
import select
import threading
import time

DEFAULT_LIMIT_S = 60.0
"""Seconds; holds until the supervisor's first message names another limit."""


class OrphanWatch:
    """Waits in a thread for the control link's end, then ends the process after the limit.

    A process that hangs must not hold the port for ever.
    """

    def __init__(self, link_fd: int) -> None:
        self.limit_s = DEFAULT_LIMIT_S
        """Seconds; may be changed until the supervisor is gone."""
        self._link_fd = os.dup(link_fd)
        threading.Thread(target=self._watch, daemon=True, name="supervisor-watch").start()

    def __repr__(self) -> str:
        return f"<OrphanWatch, limit {self.limit_s:g} s>"

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._link_fd, 0)  # nothing but the other end's closing
        poll.poll()
        time.sleep(self.limit_s)
        os._exit(1)
