"""What a worker process runs first: it ends with the gateway, then runs the entry it is given.

``python -m gateway.serving.runtime.process.worker_main MODULE:FUNCTION LINK_FD ARENA_FD``: calls
``function(link, arena)`` and exits when it returns.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway.serving.runtime.process.arena import Arena

_MOST_OOM_SCORE: Final = 1000
# as if half the machine's memory were its own, which puts it before a gateway of nearly any size
_OOM_SCORE_ADDED: Final = 500

Entry = Callable[[socket.socket, Arena], None]


def main(arguments: Sequence[str]) -> None:
    """Runs the entry with the link and the arena; the module says how it is called."""
    entry, link_fd, arena_fd = arguments
    leave_signals_to_the_gateway()
    link = socket.socket(fileno=int(link_fd))
    threading.Thread(target=end_with, args=(link,), daemon=True, name="gateway-watch").start()
    die_first_when_memory_is_short()
    arena = Arena(int(arena_fd))
    os.close(int(arena_fd))
    module, _, function = entry.partition(":")
    run: Entry = getattr(importlib.import_module(module), function)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the gateway has hung up
        run(link, arena)


def leave_signals_to_the_gateway() -> None:
    """Ignores the signals that end the gateway, which hangs up when this process is to end.

    Ctrl-C and service managers signal the whole process group, while the gateway still drains.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # blocked across the start
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def end_with(link: socket.socket) -> None:
    """Ends the process when the gateway has hung up or is gone, even in the middle of a run."""
    poll = select.poll()
    poll.register(link, 0)  # nothing but the other end's closing
    poll.poll()
    os._exit(0)


def die_first_when_memory_is_short() -> None:
    """Has the kernel take this process first, not the one that serves all models."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        score.write_text(str(min(int(score.read_text()) + _OOM_SCORE_ADDED, _MOST_OOM_SCORE)))


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # nothing here is worth tearing down in order
