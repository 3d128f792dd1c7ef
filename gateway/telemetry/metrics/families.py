"""What a metric is in the telemetry process, in whatever format it is read.

A family has series, and a series a value at one moment. A series lives as long as what it
describes, a `Portion` as long as its values: encodings keep what they have made of either beside
it, so that of a thousand models only those are encoded anew that have done something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate


class Kind(Enum):
    """What the numbers of a family are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What a metric is called and what it means."""

    name: str
    """Its name in Prometheus; that of a counter ends with `_total`."""
    help: str
    kind: Kind
    otlp_name: str
    unit: str = ""
    """Its unit in the words of UCUM: `s`, `By`, `{request}`; empty: none."""
    bounds: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, each in its bucket; one more has no bound."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The value of a histogram."""

    counts: tuple[int, ...]
    """How many are in each bucket, not cumulative."""
    sum: float

    def cumulative(self) -> Iterator[int]:
        """How many were in each bucket or one before it; the last is all."""
        return accumulate(self.counts)


Value = int | float | Buckets
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line of numbers over time: a family with the values of its labels."""

    family: Family
    labels: Labels = ()
    """In the words of Prometheus; a label whose value is empty is as good as none."""
    kept: dict[object, str] = field(default_factory=dict, repr=False)
    """What encodings have made of it, by encoding."""


@dataclass(frozen=True, slots=True, eq=False)
class Portion:
    """Series that change together, with their values at one moment."""

    samples: tuple[tuple[Series, Value], ...]
    kept: dict[object, list[tuple[Family, str]]] = field(default_factory=dict, repr=False)
    """What encodings have made of it, by encoding."""


def by_family(portions: Iterable[Portion]) -> dict[Family, list[tuple[Series, Value]]]:
    """All samples, those of a family together, the families as they first come."""
    found: dict[Family, list[tuple[Series, Value]]] = {}
    for portion in portions:
        for series, value in portion.samples:
            found.setdefault(series.family, []).append((series, value))
    return found
