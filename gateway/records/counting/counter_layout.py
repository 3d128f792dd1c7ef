"""Where the counters of a version stand in its row of the shared table, in words of eight bytes.

The serving process writes there, and the telemetry process reads. All counters of
`version_counts.FIELDS` come first, in their order: the head of the row. The batches by their size
follow.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.records.counting.counter_fields import CounterField, Shape
from gateway.records.counting.counter_values import BUCKETS, MAX_REASONS
from gateway.records.counting.version_counts import FIELDS

WORD_BYTES: Final = 8
_WORDS: Final = {
    Shape.NUMBER: 1,
    Shape.LATEST: 1,
    Shape.DURATION: 2,
    Shape.HISTOGRAM: BUCKETS + 1,
    Shape.REASONS: MAX_REASONS,
    Shape.BATCH_SIZES: 0,
}
EXACT_BATCH_SIZES: Final = 128
"""Batches up to this size are counted by their size, larger ones by the next power of two."""
LARGEST_POWER: Final = 16
"""Batches of more than 2 ** 16 rows are counted with those of 2 ** 16."""
BATCH_SIZES: Final = (
    *range(1, EXACT_BATCH_SIZES + 1),
    *(1 << power for power in range(8, LARGEST_POWER + 1)),
)
SIZE_WORDS: Final = 4
"""The words of each batch size: batches, and nanoseconds of their three compute times."""


class Place(NamedTuple):
    """Where a counter stands in the head of a row."""

    name: str
    shape: Shape
    start: int
    end: int
    """The word behind its last one."""
    source: str
    """The histogram that it is read from, having no words itself; empty: it has its own."""


def _places(declared: tuple[CounterField, ...]) -> tuple[Place, ...]:
    places = []
    at = 0
    for each in declared:
        end = at if each.source else at + _WORDS[each.shape]
        places.append(Place(each.name, each.shape, at, end, each.source))
        at = end
    return tuple(places)


PLACES: Final = _places(FIELDS)
"""The places of all counters, in the order of `FIELDS`."""
AT: Final = {place.name: place.start for place in PLACES}
"""The first word of each counter, by name."""
HEAD_WORDS: Final = -(-PLACES[-1].end // SIZE_WORDS) * SIZE_WORDS
"""Where the batch sizes start: the head, made full to a batch size's words."""
ROW_WORDS: Final = HEAD_WORDS + SIZE_WORDS * len(BATCH_SIZES)
ROW_BYTES: Final = ROW_WORDS * WORD_BYTES


def large_batch_at(rows: int) -> int:
    """The first word of the batch size that a large batch is counted with.

    A batch is large that has more than `EXACT_BATCH_SIZES` rows.
    """
    power = min((rows - 1).bit_length(), LARGEST_POWER)
    return HEAD_WORDS + SIZE_WORDS * (EXACT_BATCH_SIZES + power - 8)
