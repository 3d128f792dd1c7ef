"""Figures computed from samples: percentiles, and medians with an interval.

The interval needs no assumption about the noise.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
COVERAGE = 0.95


@dataclass(frozen=True)
class MedianInterval:
    """A median, and two order statistics that hold the true one between them.

    They hold it with the probability `coverage`.
    """

    median: float
    low: float
    high: float
    coverage: float

    def __str__(self) -> str:
        doubt = "" if self.coverage >= COVERAGE else f", only {self.coverage:.0%} sure"
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f}{doubt})"


@dataclass(frozen=True)
class Slice:
    """One short run of a load against one server; `fault` is empty when every reply was right."""

    calls_per_s: float
    p50_ms: float
    p99_ms: float
    fault: str = ""
    p90_ms: float = math.nan


def median_interval(values: Sequence[float]) -> MedianInterval:
    """The narrowest symmetric pair of order statistics that holds the median with at least 95 %.

    With fewer than six values no pair does; the extremes are returned
    then, with the coverage they have.
    """
    if not values:
        raise ValueError("an interval needs at least one value, got none")
    ordered = sorted(values)
    n = len(values)
    outside = _tail(n, 0)
    left_out = 0
    while left_out + 1 < (n + 1) // 2 and 1 - 2 * _tail(n, left_out + 1) >= COVERAGE:
        left_out += 1
        outside = _tail(n, left_out)
    return MedianInterval(
        statistics.median(ordered),
        ordered[left_out],
        ordered[n - 1 - left_out],
        max(0.0, 1 - 2 * outside),
    )


def _tail(n: int, k: int) -> float:
    """The probability that at most k of n values lie below the median."""
    return float(sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the ascending values do not exceed.

    It is NaN where there are no values.
    """
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> MedianInterval:
    """The median of the ratios of ours to theirs, turn by turn.

    What slows a machine for a while slows both halves of a turn.
    """
    return median_interval([a / b for a, b in zip(ours, theirs, strict=True)])


def take_turns(
    contestants: Mapping[str, Callable[[], T]], turns: int, *, warm_up: int = 2
) -> dict[str, list[T]]:
    """Runs every contestant once a turn, another one first each time.

    Results of the first `warm_up` turns are dropped.
    """
    names = list(contestants)
    results: dict[str, list[T]] = {name: [] for name in names}
    for turn in range(-warm_up, turns):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            result = contestants[name]()
            if turn >= 0:
                results[name].append(result)
    return results
