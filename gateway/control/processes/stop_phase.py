"""What signals mean to the control process, and how far the gateway's stop has come.

SIGTERM drains and stops, Ctrl-C stops without the drain delay, a second Ctrl-C ends at once.
"""

from __future__ import annotations

import asyncio
import signal
from enum import IntEnum


class Phase(IntEnum):
    """How far the gateway is on its way out; it only ever goes on."""

    SERVING = 0
    DRAINING = 1
    """Not ready any more; everything is served."""
    STOPPING = 2
    """Calls in flight are finished."""
    KILLED = 3
    """Everything ends at once."""


def next_phase(phase: Phase, number: int) -> Phase:
    """The phase that a signal leads to.

    There are three cases: SIGTERM drains (a service manager may repeat it, or send it to the group
    and to the process: that changes nothing); the first other signal stops; the next one kills.
    """
    if number == signal.SIGTERM:
        return max(phase, Phase.DRAINING)
    return Phase.KILLED if phase >= Phase.STOPPING else Phase.STOPPING


class StopProgress:
    """The phase of the stop, which tasks can wait for."""

    def __init__(self) -> None:
        self.phase = Phase.SERVING
        self._reached = {phase: asyncio.Event() for phase in Phase}

    def __repr__(self) -> str:
        return f"<StopProgress {self.phase.name.lower()}>"

    def signalled(self, number: int) -> None:
        """A signal has come: goes on to the phase that it leads to."""
        self.advance(next_phase(self.phase, number))

    def advance(self, phase: Phase) -> None:
        """Goes on to a phase, if it is not beyond it."""
        self.phase = max(self.phase, phase)
        for reached in Phase:
            if reached <= self.phase:
                self._reached[reached].set()

    async def wait(self, phase: Phase) -> None:
        """Returns when the phase, or a later one, is reached."""
        await self._reached[phase].wait()
