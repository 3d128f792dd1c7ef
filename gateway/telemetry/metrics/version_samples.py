"""What was counted of a version, as metrics of the telemetry process.

What is shown, and in which order, follows from how the counters are declared.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

from gateway.records.counting.counter_fields import ANSWERED, CounterField, Shape
from gateway.records.counting.counter_values import Histogram
from gateway.records.counting.version_counts import FIELDS, VersionCounts
from gateway.records.histogram_bounds import SIZE_BOUNDS
from gateway.telemetry.metrics import metric_names as names
from gateway.telemetry.metrics.cached_samples import Sample
from gateway.telemetry.metrics.families import Buckets, Labels, Value

_REMEMBERED: Final = 8192
_Read = Callable[[VersionCounts], Value]


@functools.lru_cache(_REMEMBERED)
def version_labels(model: str, version: int) -> Labels:
    """The labels that identify a version."""
    return (names.MODEL, model), (names.VERSION, str(version))


def version_samples(labels: Labels, counts: VersionCounts) -> Iterator[Sample]:
    """All metrics of a version that are counted, in the order that they are declared in."""
    for family, outcome, read in _SHOWN:
        if family is names.REQUESTS:
            yield family, _answered(labels), counts.request_time.count
            yield from failure_samples(labels, counts)
        elif not outcome:
            yield family, labels, read(counts)
        # 19 lines more, so only where something has failed
        elif outcome == ANSWERED or any(counts.failures):
            yield family, _outcome(labels, outcome), read(counts)


def failure_samples(labels: Labels, counts: VersionCounts) -> Iterator[Sample]:
    """Requests that were not answered, by every reason there is, also where there are none.

    A series that starts above 0 would hide its first failures from a rate.
    """
    for index, ending in _endings(labels):
        yield names.REQUESTS, ending, counts.failures[index]


@functools.lru_cache(_REMEMBERED)
def _outcome(labels: Labels, outcome: str) -> Labels:
    return (*labels, (names.OUTCOME, outcome))


@functools.lru_cache(_REMEMBERED)
def _answered(labels: Labels) -> Labels:
    return (*labels, (names.STATUS, names.OK), (names.REASON, ""))


@functools.lru_cache(_REMEMBERED)
def _endings(labels: Labels) -> tuple[tuple[int, Labels], ...]:
    return tuple(
        (index, (*labels, (names.STATUS, status), (names.REASON, reason)))
        for index, status, reason in names.ENDINGS
    )


def _reading(of: CounterField) -> _Read:
    """The function that takes the value of a metric from the counts of a version."""
    if of.shape is Shape.BATCH_SIZES:
        return _sizes
    if of.shape is Shape.HISTOGRAM:
        return _buckets(attrgetter(of.name))
    read: _Read = attrgetter(of.name)
    return read


def _buckets(histogram: Callable[[VersionCounts], Histogram]) -> _Read:
    def read(counts: VersionCounts) -> Value:
        found = histogram(counts)
        return Buckets(found.counts, found.sum_s)

    return read


def _sizes(counts: VersionCounts) -> Buckets:
    found = [0] * (len(SIZE_BOUNDS) + 1)
    for batch in counts.batches:
        found[bisect_left(SIZE_BOUNDS, batch.batch_size)] += batch.count
    return Buckets(tuple(found), counts.inference_count)


_SHOWN: Final = tuple(
    (names.COUNTED[each.name], each.outcome, _reading(each))
    for each in FIELDS
    if each.name in names.COUNTED
)
