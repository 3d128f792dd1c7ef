"""What a serving process runs first: made safe against the supervisor's signals and its death, then handed to the entry it is to run.

``python -m gateway.control.serving_main MODULE:FUNCTION LINK_FD STATISTICS_FD SLOT ORPHAN_LIMIT_S``: calls
``function(link_fd, statistics_fd, slot)`` and exits with what it returns.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

SERVING_ENTRY = "gateway.assembly.serving:run_serving_process"
"""The function that makes a whole serving process; named, not imported, because it stands above this."""

Entry = Callable[[int, int, int], int | None]


def main(arguments: Sequence[str]) -> int:
    """Runs the entry; see the module."""
    entry, link_fd, statistics_fd, slot, orphan_limit_s = arguments
    leave_signals_to_the_supervisor()
    threading.Thread(target=_end_after, args=(os.dup(int(link_fd)), float(orphan_limit_s)), daemon=True, name="supervisor-watch").start()
    return _load(entry)(int(link_fd), int(statistics_fd), int(slot)) or 0


def leave_signals_to_the_supervisor() -> None:
    """Ctrl-C and service managers signal the whole process group; when to stop is said over the link."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})  # blocked across the start


def _load(entry: str) -> Entry:
    module, _, function = entry.partition(":")
    loaded: Entry = getattr(importlib.import_module(module), function)
    return loaded


def _end_after(link_fd: int, orphan_limit_s: float) -> None:
    """Ends the process when it has outlived its supervisor by the limit: one that hangs must not hold the port for ever."""
    poll = select.poll()
    poll.register(link_fd, 0)  # nothing but the other end's closing
    poll.poll()
    time.sleep(orphan_limit_s)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
