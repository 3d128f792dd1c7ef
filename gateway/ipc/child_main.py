"""What every process but the main one runs first.

Made safe against the supervisor's signals and its death, then handed to the entry it is to run.

``python -m gateway.ipc.child_main MODULE:FUNCTION LINK_FD STATISTICS_FD RINGS_FD``: calls
``function(link_fd, files, watch)`` and exits with what it returns. Everything else comes over the
link.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Sequence

from gateway.ipc.orphan_watch import SupervisorWatch
from gateway.ipc.shared_files import SharedFiles

Entry = Callable[[int, SharedFiles, SupervisorWatch], int | None]


def main(arguments: Sequence[str]) -> int:
    """Runs the entry; see the module."""
    entry, link_fd, *files = arguments
    leave_signals_to_the_supervisor()
    return (
        _load(entry)(int(link_fd), SharedFiles(*map(int, files)), SupervisorWatch(int(link_fd)))
        or 0
    )


def leave_signals_to_the_supervisor() -> None:
    """Ctrl-C and service managers signal the whole process group.

    When to stop is said over the link.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # blocked across the start
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _load(entry: str) -> Entry:
    module, _, function = entry.partition(":")
    loaded: Entry = getattr(importlib.import_module(module), function)
    return loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
