"""The numbers of one version, as they are read from the table that all processes count in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.records.histogram_bounds import TIME_BOUNDS_S

BUCKETS: Final = len(TIME_BOUNDS_S) + 1
MAX_REASONS: Final = 24
"""Room for `gateway.core.errors.REASONS`."""


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something took how long together."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often something took how long."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    """By bucket of `TIME_BOUNDS_S`, not cumulative."""
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """All together."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Batches of one size."""

    batch_size: int
    count: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """The numbers of one version over all processes.

    The first of them in the words of `inference.ModelStatistics`.
    """

    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()
    inference_count: int = 0
    """Rows answered."""
    execution_count: int = 0
    """Batches run."""
    last_inference_ms: int = 0
    """Of the Unix epoch; 0: never."""
    batches: tuple[BatchCounts, ...] = ()
    """Sizes that occurred, ascending."""
    request_time: Histogram = Histogram()
    """Of requests answered, from arrival to answer."""
    queue_time: Histogram = Histogram()
    """Of requests answered that waited for a batch."""
    failure_time: Histogram = Histogram()
    """Of requests that were not answered, from arrival to error."""
    batch_time: Histogram = Histogram()
    """Of batches answered: joined, run and split."""
    compute_time: Histogram = Histogram()
    """Of batches answered: the model's run alone."""
    failures: tuple[int, ...] = (0,) * MAX_REASONS
    """Requests not answered, by their place in `gateway.core.errors.REASONS`."""
    degraded: int = 0
    """Requests that a fallback answered."""
    retries: int = 0
    """Batches that were run again because an instance failed."""
    input_bytes: int = 0
    output_bytes: int = 0
