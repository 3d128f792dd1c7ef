"""The calls of one server that are received and not answered, and what they share.

Runs in a serving process.
"""

from __future__ import annotations

import math
import time
from typing import Final, Protocol

from gateway.serving.wire.transport.completion_queue.outbox import Outbox

_NEVER_S: Final = 1e12  # thirty thousand years


class OpenCall(Protocol):
    """A call that waits for its answer."""

    deadline: float
    """When its caller stops waiting, in seconds of the monotonic clock."""
    tick: int
    """The sweep it was received in."""
    watched: bool
    """Whether the call is watched for its cancellation."""

    def watch(self) -> None:
        """Has the core report a cancellation from now on."""
        ...

    def give_place(self) -> None:
        """Lets another call be received in its place, if it still holds one."""
        ...

    def expire(self) -> None:
        """Ends the call: its time is over."""
        ...

    def cancel(self) -> None:
        """Cancels the method."""
        ...


def monotonic_deadline(wall: float) -> float:
    """When the caller stops waiting, in seconds of the monotonic clock; infinity: never.

    `wall` is the wall-clock time that the core gives. Its infinite future is infinity in some
    versions of grpcio, in others (1.85) the most seconds that fit into 64 bits.
    """
    return math.inf if wall >= _NEVER_S else wall - time.time() + time.monotonic()


class OpenCalls:
    """The open calls of a server, and the outbox of their answers.

    An answered call is let go at once: it holds kilobytes in the core. `destroyed`: the core's
    server is gone, and a batch started now would abort the process. `max_message_bytes`: what a
    message may have.
    """

    __slots__ = ("destroyed", "max_message_bytes", "members", "outbox", "tick")

    def __init__(self, outbox: Outbox, max_message_bytes: int) -> None:
        self.outbox = outbox
        self.max_message_bytes = max_message_bytes
        self.members: set[OpenCall] = set()
        self.tick = 0
        self.destroyed = False

    def are_busy(self) -> bool:
        """Whether a call is under way, or an answer is still leaving."""
        return bool(self.members or self.outbox.leaving)

    def sweep(self, *, all_delivered: bool) -> None:
        """Expires those whose time is over, watches those that have waited since the last sweep.

        `all_delivered`: since the last sweep there was a moment with no event waiting. Then a
        message of an older call that was not seen has not come, and its sender is not to keep the
        place of another.
        """
        now = time.monotonic()
        for call in tuple(self.members):
            if call.deadline <= now:
                call.expire()
            elif call.tick < self.tick:
                if not call.watched:
                    call.watch()
                if all_delivered and call.tick < self.tick - 1:
                    call.give_place()
        self.tick += 1

    def cancel(self) -> None:
        """Cancels the methods of all open calls."""
        for call in tuple(self.members):
            call.cancel()

    def destroy(self) -> None:
        """Cancels what is open, because the core's server is about to go and no client is left."""
        self.destroyed = True
        self.outbox.close()
        self.cancel()
