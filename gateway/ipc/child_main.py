"""The program that every process but the control process runs first.

It ignores the signals that are the supervisor's to answer, watches for the supervisor's death, and
calls the entry of the process.

``python -m gateway.ipc.child_main MODULE:FUNCTION LINK_FD STATISTICS_FD RINGS_FD`` calls
``function(link_fd, files, watch)`` and exits with what it returns. Everything else comes over the
link.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Sequence

from gateway.ipc.orphan_watch import OrphanWatch
from gateway.ipc.shared_files import SharedFiles

Entry = Callable[[int, SharedFiles, OrphanWatch], int | None]


def main(arguments: Sequence[str]) -> int:
    """Runs the entry named by the command line (see the module); returns the exit status."""
    entry, link_fd, *files = arguments
    leave_signals_to_the_supervisor()
    run = _load(entry)
    return run(int(link_fd), SharedFiles(*map(int, files)), OrphanWatch(int(link_fd))) or 0


def leave_signals_to_the_supervisor() -> None:
    """Ignores the signals that Ctrl-C and service managers send to the whole process group.

    The supervisor answers them and orders its children to stop over the link.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # the spawner blocks them, so that none comes before it is ignored
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _load(entry: str) -> Entry:
    module, _, function = entry.partition(":")
    loaded: Entry = getattr(importlib.import_module(module), function)
    return loaded


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
