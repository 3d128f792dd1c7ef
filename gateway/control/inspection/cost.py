"""What a run costs by batch size, measured in the inspection process.

This curve decides whether batching pays, up to which size, and where batches run. Sizes are climbed
first (1, 2, 4, ...) and then visited again, so that a disturbance of some milliseconds spoils one
visit and not a size: each visit gives a median, and the least of them counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway.core.errors import ModelFailed

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]
Run = Callable[[Mapping[str, Array]], list[Array]]


@dataclass(frozen=True, slots=True)
class CostLimits:
    """How long measuring may take."""

    total_s: float = 1.0
    """The climb ends with the size at which this time is over."""
    run_s: float = 0.3
    """The climb ends with the first size whose run takes longer."""
    visit_s: float = 0.1
    """A visit's runs end when this time is over; there is one run at least."""
    visits: int = 3
    runs: int = 3
    """Runs in a visit."""
    feed_bytes: int = 128 << 20
    """Larger batches are not tried."""


def batch_sizes(most: int) -> list[int]:
    """1, 2, 4, ... and the largest size itself."""
    sizes = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*sizes, most]


def measure(
    run: Run, rows: Feed, most: int, limits: CostLimits = CostLimits()
) -> tuple[dict[int, float], str]:
    """Microseconds of a run by batch size up to `most`, and the model's refusal of a size.

    The text is empty where the model refused none. `rows` is a feed of rows that run alone; batches
    repeat them.
    """
    count = max((len(array) for array in rows.values()), default=1)
    feeds: dict[int, Feed] = {}
    costs: dict[int, float] = {}
    until = time.perf_counter() + limits.total_s
    for size in batch_sizes(most):
        if feeds and time.perf_counter() > until:
            break
        feed = {name: array[np.arange(size) % count] for name, array in rows.items()}
        if feeds and sum(array.nbytes for array in feed.values()) > limits.feed_bytes:
            break
        try:
            costs[size] = _visit(run, feed, limits, warm=True)
        except ModelFailed as failure:
            ran = max(costs, default=0)
            refusal = f"a batch of {size} rows failed (the largest that ran: {ran}): {failure}"
            return _revisited(run, feeds, costs, until, limits), refusal
        feeds[size] = feed
        if costs[size] > limits.run_s * 1e6:
            break
    return _revisited(run, feeds, costs, until, limits), ""


def measure_one(run: Run, feed: Feed, limits: CostLimits = CostLimits()) -> dict[int, float]:
    """The same for a model that runs one request at a time, whose curve has the size 1 alone.

    Empty: the run failed.
    """
    try:
        costs = {1: _visit(run, feed, limits, warm=True)}
    except ModelFailed:
        return {}
    return _revisited(run, {1: feed}, costs, time.perf_counter() + limits.total_s, limits)


def _revisited(
    run: Run, feeds: Mapping[int, Feed], costs: dict[int, float], until: float, limits: CostLimits
) -> dict[int, float]:
    for _ in range(limits.visits - 1):
        for size, feed in feeds.items():
            if time.perf_counter() + limits.runs * costs[size] / 1e6 < until:
                costs[size] = min(costs[size], _visit(run, feed, limits))
    return {size: round(cost, 1) for size, cost in costs.items()}


def _visit(run: Run, feed: Feed, limits: CostLimits, *, warm: bool = False) -> float:
    """The median time of a few runs, in microseconds.

    `warm`: there is one run more, which lays out the memory for this shape and does not count.
    """
    times_ns: list[int] = []
    begun = time.perf_counter_ns()
    last = begun
    for _ in range(limits.runs + warm):
        run(feed)
        now = time.perf_counter_ns()
        times_ns.append(now - last)
        last = now
        if (last - begun) / 1e9 > (limits.run_s if warm and len(times_ns) == 1 else limits.visit_s):
            break
    return statistics.median(times_ns[1:] if warm and len(times_ns) > 1 else times_ns) / 1e3
