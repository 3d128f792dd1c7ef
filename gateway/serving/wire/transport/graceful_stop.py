"""Waiting for the calls and clients of a stopping server, in a serving process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

# what idle clients get to read that they are to leave, and to do so;
# gRPC's core would give them 20 s
_LINGER_S: Final = 1.0
_POLL_S: Final = 0.1


async def until_finished(
    finished: asyncio.Future[Any], is_busy: Callable[[], object], grace_s: float
) -> None:
    """Returns when `finished` is done, nothing was busy for a second, or the grace is over.

    It waits no longer for idle clients, because one may never read that it is to leave: a
    synchronous client on grpcio up to 1.78 reads only while it makes a call.
    """
    clock = asyncio.get_running_loop().time
    last_busy = clock()
    grace_over = last_busy + grace_s
    while not finished.done() and (left := min(grace_over, last_busy + _LINGER_S) - clock()) > 0:
        await asyncio.wait([finished], timeout=min(left, _POLL_S))
        if is_busy():
            last_busy = clock()
