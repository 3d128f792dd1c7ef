"""What a counter's value is, where it is more than a number.

The telemetry process and the statistics service of a serving process read these.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.records.histogram_bounds import TIME_BOUNDS_S

BUCKETS: Final = len(TIME_BOUNDS_S) + 1
MAX_REASONS: Final = 24
"""Room for `gateway.core.errors.REASONS`."""


class Duration(msgspec.Struct, frozen=True):
    """How often something happened, and how long it took together."""

    count: int = 0
    ns: int = 0


class Histogram(msgspec.Struct, frozen=True):
    """How often something took how long, in buckets of time."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    """How often in each bucket of `TIME_BOUNDS_S`, not cumulative."""
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """How many there are in all buckets."""
        return sum(self.counts)


class BatchCounts(msgspec.Struct, frozen=True):
    """Batches of one size."""

    batch_size: int
    count: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int
