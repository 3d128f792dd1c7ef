"""When a worker process that died is started again. Runs in a serving process.

It is pure: it gets what happened and returns how long to wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

STABLE_S: Final = 1.0
"""A process that served as long as this did not die of being started."""
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 30.0


class Restarts:
    """The delay before each start.

    The first death after a stable time is followed by a start at once, others by one after a
    growing delay. `attempts`: starts that may fail one after the other. `chance`: returns a number
    from 0 to 1, which spreads the delays of many workers.
    """

    def __init__(self, attempts: int, chance: Callable[[], float] = random.random) -> None:
        self._attempts = attempts
        self._chance = chance
        self._deaths = 0
        self.failed_starts = 0

    def opened(self) -> None:
        """A start succeeded."""
        self.failed_starts = 0

    def died(self, served_s: float) -> float:
        """A process that was up is gone: returns the seconds until the next start."""
        if served_s >= STABLE_S:
            self._deaths = 0
            return 0.0
        self._deaths += 1
        return self._delay(self._deaths)

    def start_failed(self) -> float | None:
        """A start failed: returns the seconds until the next; None: there is none."""
        self.failed_starts += 1
        return None if self.failed_starts >= self._attempts else self._delay(self.failed_starts)

    def _delay(self, count: int) -> float:
        """Seconds, doubled each time, and cut by up to half."""
        doubled: float = FIRST_DELAY_S * 2 ** min(count - 1, 30)
        return min(LONGEST_DELAY_S, doubled) * (1 - self._chance() / 2)

    def __repr__(self) -> str:
        return (
            f"<Restarts {self._deaths} quick deaths, {self.failed_starts} of "
            f"{self._attempts} failed starts>"
        )
