"""How much of a serving process's event loop the runs of one version may take."""

from __future__ import annotations

import logging
from typing import Final

_log = logging.getLogger(__name__)

# CPU time of a run on the loop that is too long: five times the 50 us by which it was let on
_OVERSTAY_NS: Final = 250_000
# so many times that long in all, and a version goes to threads for good: one
# run of 5 ms, or a few long ones
_OVERSTAYS: Final = 20
# what a run of the right length takes off: page faults and the
# collector make a long one now and then
_FORGIVEN: Final = 0.01


class LoopTime:
    """Which batches of a version run on the event loop.

    `rows`: batches of so many rows at most; 0: none, which it is for good once runs were not as
    short as they were measured.
    """

    def __init__(self, model: str, version: int, rows: int) -> None:
        self._key = (model, version)
        self._overstays = 0.0
        self.rows = rows

    def takes(self, rows: int) -> bool:
        """A batch of so many rows runs on the loop.

        One of no rows does not: no trial run says what it takes, and some graphs work without rows.
        """
        return 0 < rows <= self.rows

    def ran(self, ran_ns: int) -> None:
        """A run on the loop took so much CPU time, in nanoseconds."""
        if ran_ns > _OVERSTAY_NS:
            self._overstays += ran_ns / _OVERSTAY_NS
            if self._overstays > _OVERSTAYS:
                _log.info(
                    "%s version %d held the event loop for %.1f ms: it "
                    "runs in threads from here on",
                    *self._key,
                    ran_ns / 1e6,
                )
                self.rows = 0
        elif self._overstays:
            self._overstays = max(0.0, self._overstays - _FORGIVEN)

    def __repr__(self) -> str:
        return f"<LoopTime up to {self.rows} rows, {self._overstays:.1f} overstays>"
