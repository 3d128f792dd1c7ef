"""Reads the counters of a version from its rows in the shared table, one in each slot.

The telemetry process does it for metrics, a serving process for ModelStatistics.
"""

from __future__ import annotations

from operator import add
from typing import Any, Final

from gateway.records.counting.counter_fields import Shape
from gateway.records.counting.counter_layout import (
    AT,
    BATCH_SIZES,
    HEAD_WORDS,
    PLACES,
    SIZE_WORDS,
    Place,
)
from gateway.records.counting.counter_values import BatchCounts, Duration, Histogram
from gateway.records.counting.version_counts import VersionCounts

_BATCHES: Final = AT["execution_count"]


def _of(shape: Shape) -> tuple[Place, ...]:
    return tuple(place for place in PLACES if place.shape is shape and not place.source)


_READ_FROM: Final = tuple((place.name, place.source) for place in PLACES if place.source)
_NUMBERS: Final = _of(Shape.NUMBER)
_LATEST: Final = _of(Shape.LATEST)
_DURATIONS: Final = _of(Shape.DURATION)
_HISTOGRAMS: Final = _of(Shape.HISTOGRAM)
_REASONS: Final = _of(Shape.REASONS)
(_SIZES,) = _of(Shape.BATCH_SIZES)


def read_counts(
    words: memoryview[int], sums: memoryview[float], starts: list[int]
) -> VersionCounts:
    """All counters, summed over the rows that start there.

    `sums` are the same bytes as `words`, read as doubles.
    """
    heads = [words[at : at + HEAD_WORDS].tolist() for at in starts]
    added = _added(heads)
    values: dict[str, Any] = {name: added[start] for name, _, start, *_ in _NUMBERS}
    for name, _, start, *_ in _LATEST:
        values[name] = max([head[start] for head in heads])
    for name, _, start, *_ in _DURATIONS:
        values[name] = Duration(added[start], added[start + 1])
    for name, _, start, end, _ in _HISTOGRAMS:
        seconds = sum([sums[at + end - 1] for at in starts])
        values[name] = Histogram(tuple(added[start : end - 1]), seconds)
    for name, _, start, end, _ in _REASONS:
        values[name] = tuple(added[start:end])
    for name, source in _READ_FROM:
        values[name] = Duration(values[source].count, round(values[source].sum_s * 1e9))
    # reading an untouched page would make it
    used = [at for at, head in zip(starts, heads, strict=True) if head[_BATCHES]]
    values[_SIZES.name] = _batches(words, used)
    return VersionCounts(**values)


def _batches(words: memoryview[int], rows: list[int]) -> tuple[BatchCounts, ...]:
    """The batches by size, of rows that counted any."""
    if not rows:
        return ()
    starts = [at + HEAD_WORDS for at in rows]
    length = SIZE_WORDS * len(BATCH_SIZES)
    counts = _added([words[at : at + length : SIZE_WORDS].tolist() for at in starts])
    found = []
    for place, count in enumerate(counts):
        if count:
            first = SIZE_WORDS * place
            numbers = [words[at + first : at + first + SIZE_WORDS].tolist() for at in starts]
            found.append(BatchCounts(BATCH_SIZES[place], *_added(numbers)))
    return tuple(found)


def _added(columns: list[list[int]]) -> list[int]:
    total = columns[0]
    for column in columns[1:]:
        total = list(map(add, total, column))
    return total
