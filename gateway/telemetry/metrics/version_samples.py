"""What was counted of a version, as metrics."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from gateway.records.histogram_bounds import SIZE_BOUNDS
from gateway.records.version_counts import BatchCounts, Histogram, VersionCounts
from gateway.telemetry.metrics import metric_names as names
from gateway.telemetry.metrics.cached_samples import Sample
from gateway.telemetry.metrics.families import Buckets, Labels

_REMEMBERED: Final = 8192


@functools.lru_cache(_REMEMBERED)
def version_labels(model: str, version: int) -> Labels:
    """What tells a version from others."""
    return (names.MODEL, model), (names.VERSION, str(version))


def version_samples(labels: Labels, counts: VersionCounts) -> Iterator[Sample]:
    """All metrics of a version that are counted."""
    answered, failed, ok = _more_labels(labels)
    yield names.REQUEST_DURATION, answered, _buckets(counts.request_time)
    yield names.QUEUE_DURATION, labels, _buckets(counts.queue_time)
    yield names.BATCH_DURATION, labels, _buckets(counts.batch_time)
    yield names.COMPUTE_DURATION, labels, _buckets(counts.compute_time)
    yield names.BATCH_SIZE, labels, _sizes(counts.batches, counts.inference_count)
    yield names.REQUESTS, ok, counts.request_time.count
    yield from failure_samples(labels, counts)
    yield names.ROWS, labels, counts.inference_count
    yield names.BATCHES, labels, counts.execution_count
    yield names.RETRIED, labels, counts.retries
    yield names.DEGRADED, labels, counts.degraded
    yield names.INPUT_BYTES, labels, counts.input_bytes
    yield names.OUTPUT_BYTES, labels, counts.output_bytes
    if any(counts.failures):  # 19 lines more, where there is something to tell
        yield names.REQUEST_DURATION, failed, _buckets(counts.failure_time)


def failure_samples(labels: Labels, counts: VersionCounts) -> Iterator[Sample]:
    """Requests that were not answered, by every reason there is.

    A series that starts above 0 hides its first failures from a rate.
    """
    for index, ending in _endings(labels):
        yield names.REQUESTS, ending, counts.failures[index]


@functools.lru_cache(_REMEMBERED)
def _more_labels(labels: Labels) -> tuple[Labels, Labels, Labels]:
    outcomes = [(*labels, (names.OUTCOME, outcome)) for outcome in (names.ANSWERED, names.FAILED)]
    return outcomes[0], outcomes[1], (*labels, (names.STATUS, names.OK), (names.REASON, ""))


@functools.lru_cache(_REMEMBERED)
def _endings(labels: Labels) -> tuple[tuple[int, Labels], ...]:
    return tuple(
        (index, (*labels, (names.STATUS, status), (names.REASON, reason)))
        for index, status, reason in names.ENDINGS
    )


def _buckets(histogram: Histogram) -> Buckets:
    return Buckets(histogram.counts, histogram.sum_s)


def _sizes(batches: tuple[BatchCounts, ...], rows: int) -> Buckets:
    counts = [0] * (len(SIZE_BOUNDS) + 1)
    for batch in batches:
        counts[bisect_left(SIZE_BOUNDS, batch.batch_size)] += batch.count
    return Buckets(tuple(counts), rows)
