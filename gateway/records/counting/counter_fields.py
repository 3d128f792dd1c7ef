"""How a counter of a version is declared: its room in the shared table, and all that it is called.

The serving process that counts and the telemetry process that reads both follow the declaration.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, replace
from enum import Enum, auto
from typing import Final, NamedTuple, TypeVar

from gateway.records.counting.counter_values import MAX_REASONS, BatchCounts, Duration, Histogram

T = TypeVar("T")

_KEY: Final = "counter"
ANSWERED: Final = "answered"
FAILED: Final = "failed"


class Shape(Enum):
    """What is kept of a counter, and so how many words of a row it takes."""

    NUMBER = auto()
    """How many."""
    LATEST = auto()
    """When it was last; so a reader takes the largest of all processes, not their sum."""
    DURATION = auto()
    """How many, and nanoseconds together."""
    HISTOGRAM = auto()
    """How many in each bucket of time, then seconds together, as a double.

    Adding to a double costs half of what an integer of nanoseconds would.
    """
    REASONS = auto()
    """How many for each of `gateway.core.errors.REASONS`."""
    BATCH_SIZES = auto()
    """Batches and their three compute times for each size; they stand behind all others."""


class Metric(NamedTuple):
    """What a counter is called as a metric, and its description."""

    name: str
    """Its name in Prometheus; that of a number ends with `_total`."""
    help: str
    otlp_name: str
    """Its name in OpenTelemetry."""
    unit: str
    """Its unit in the words of UCUM: `s`, `By`, `{request}`."""


class TritonMetric(NamedTuple):
    """What Triton calls it."""

    name: str
    help: str


class Percentiles(NamedTuple):
    """Which percentiles of a histogram the page shows, in milliseconds, as `NAME_p50_ms`."""

    name: str
    percents: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterField:
    """One counter of a version; what is empty or None is not shown there."""

    name: str = ""
    """The name of the field that it was declared with."""
    shape: Shape
    writes: str
    """The method of `VersionStatistics` that counts it; empty: none does yet."""
    metric: Metric | None = None
    outcome: str = ""
    """`ANSWERED` or `FAILED`, where two counters share a metric and are distinguished by it."""
    statistics: str = ""
    """Its name in `inference.ModelStatistics`, or of its `inference_stats` for a duration."""
    triton_count: TritonMetric | None = None
    triton_us: TritonMetric | None = None
    """Where Triton shows a duration's nanoseconds, as microseconds."""
    rate: str = ""
    """What the page calls it by the second."""
    percentiles: Percentiles | None = None
    source: str = ""
    """The histogram that a duration is read from, which then has no room of its own.

    So two numbers for one thing cannot differ, and it is counted once.
    """


def number(
    writes: str,
    metric: Metric,
    *,
    statistics: str = "",
    triton_count: TritonMetric | None = None,
    rate: str = "",
) -> int:
    """Declares a counter of how many; `rate`: what the page calls it by the second."""
    return _field(
        0,
        CounterField(
            shape=Shape.NUMBER,
            writes=writes,
            metric=metric,
            statistics=statistics,
            triton_count=triton_count,
            rate=rate,
        ),
    )


def latest(writes: str, *, statistics: str) -> int:
    """Declares a counter of when it was last; 0: never."""
    return _field(0, CounterField(shape=Shape.LATEST, writes=writes, statistics=statistics))


def duration(
    writes: str,
    *,
    statistics: str,
    triton_count: TritonMetric | None = None,
    triton_us: TritonMetric | None = None,
    source: str = "",
) -> Duration:
    """Declares a counter of how many, and how long together; `source`: see `CounterField`."""
    return _field(
        Duration(),
        CounterField(
            shape=Shape.DURATION,
            writes=writes,
            statistics=statistics,
            triton_count=triton_count,
            triton_us=triton_us,
            source=source,
        ),
    )


def histogram(
    writes: str, metric: Metric, *, outcome: str = "", percentiles: Percentiles | None = None
) -> Histogram:
    """Declares a counter of how many took how long."""
    return _field(
        Histogram(),
        CounterField(
            shape=Shape.HISTOGRAM,
            writes=writes,
            metric=metric,
            outcome=outcome,
            percentiles=percentiles,
        ),
    )


def reasons(writes: str, metric: Metric, *, triton_count: TritonMetric) -> tuple[int, ...]:
    """Declares a counter for each reason of a failure."""
    return _field(
        (0,) * MAX_REASONS,
        CounterField(shape=Shape.REASONS, writes=writes, metric=metric, triton_count=triton_count),
    )


def batch_sizes(writes: str, metric: Metric, *, statistics: str) -> tuple[BatchCounts, ...]:
    """Declares counters of batches by their size."""
    return _field(
        (),
        CounterField(shape=Shape.BATCH_SIZES, writes=writes, metric=metric, statistics=statistics),
    )


def declared(of: Field[object]) -> CounterField:
    """What a field of the dataclass was declared as."""
    counter = of.metadata[_KEY]
    assert isinstance(counter, CounterField)
    return replace(counter, name=of.name)


def _field(nothing: T, counter: CounterField) -> T:
    """A field of a dataclass that is `nothing` where nothing was counted.

    For the type checker it is that value, as what `dataclasses.field` makes is.
    """
    value: T = field(default=nothing, metadata={_KEY: counter})
    return value
