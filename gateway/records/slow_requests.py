"""Which requests are the slowest of their version: a limit that about one in a hundred is over.

The serving process holds every answer against it, and moves it once a second.
"""

from __future__ import annotations

import math
from typing import Final

_SHARE: Final = 0.01
_SAMPLE: Final = 100  # answers from which a share of one in a hundred can be estimated
_DOWN: Final = 0.97
_FIRST: Final = 3.0  # times the mean: where the search begins


class SlowRequests:
    """The limit of one version in one process.

    The journal reads `limit_s` for every request, and counts `over` up for each that took longer.
    """

    __slots__ = ("_answered", "_sum_s", "limit_s", "over")

    def __init__(self) -> None:
        self.limit_s = math.inf
        self.over = 0
        self._answered = 0
        self._sum_s = 0.0

    def refresh(self, answered: int, sum_s: float) -> None:
        """Sets the limit anew; to be called now and then.

        `answered`: requests answered ever; `sum_s`: the seconds that they took together.
        """
        new = answered - self._answered
        if new < _SAMPLE:
            return
        if self.limit_s == math.inf:
            self.limit_s = _FIRST * (sum_s - self._sum_s) / new
        else:
            # Quickly up and slowly down: where all requests take the same time, all of them are
            # over a limit just below it.
            self.limit_s *= min(2.0, max(_DOWN, (self.over / (new * _SHARE)) ** 0.25))
        self._answered = answered
        self._sum_s = sum_s
        self.over = 0

    def __repr__(self) -> str:
        return f"<SlowRequests: over {self.limit_s * 1e3:.3g} ms>"
