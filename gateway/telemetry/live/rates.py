"""Rates and percentiles from two samples of the counters, for all versions at once.

The telemetry process makes them every second; a thousand versions cost a millisecond.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

import numpy as np

from gateway.core.errors import REASONS
from gateway.records.counting.counter_layout import AT
from gateway.records.counting.counter_values import BUCKETS
from gateway.records.counting.version_counts import FIELDS
from gateway.records.histogram_bounds import TIME_BOUNDS_S

Integers = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.float64]]

_RATES: Final = {each.rate: each.name for each in FIELDS if each.rate}
_PERCENTILES: Final = {
    each.name: {
        f"{each.percentiles.name}_p{percent}_ms": percent / 100
        for percent in each.percentiles.percents
    }
    for each in FIELDS
    if each.percentiles is not None
}
"""By counter, the names and shares of its percentiles."""


def _looked_at() -> dict[str, Integers]:
    """The words of a row of the statistics table that rates are made of, by counter."""
    words = {name: np.array([AT[name]]) for name in _RATES.values()}
    words["failures"] = AT["failures"] + np.arange(len(REASONS))
    words |= {name: AT[name] + np.arange(BUCKETS) for name in _PERCENTILES}
    return words


def _columns(words: dict[str, Integers]) -> dict[str, slice]:
    """Where each counter's words stand among those that are looked at."""
    ends = np.cumsum([len(each) for each in words.values()]).tolist()
    return {
        name: slice(end - len(each), end)
        for (name, each), end in zip(words.items(), ends, strict=True)
    }


_WORDS: Final = _looked_at()
COLUMNS: Final = np.concatenate(list(_WORDS.values()))
"""The words of a row of the statistics table that are looked at."""
_OF: Final = _columns(_WORDS)

_FIRST: Final = (
    "calls_per_s", "errors_per_s", "degraded_per_s", "retries_per_s", "rows_per_s", "batches_per_s",
    "rows_per_batch", "input_bytes_per_s", "output_bytes_per_s", "latency_p50_ms", "latency_p90_ms",
    "latency_p99_ms", "queue_p50_ms", "queue_p90_ms", "compute_p50_ms", "compute_p90_ms",
)  # fmt: skip
FIGURES: Final = tuple(dict.fromkeys((*_FIRST, *_RATES, *chain(*_PERCENTILES.values()))))
"""The columns of `figures`: first what the JSON has always had, in its order, then what is new.

Calls are all requests that ended, errors those of them that were not answered.
"""

_LOWER_S: Final = np.array((0.0, *TIME_BOUNDS_S))
_UPPER_S: Final = np.array((*TIME_BOUNDS_S, TIME_BOUNDS_S[-1]))


def figures(counted: Integers, seconds: float) -> Numbers:
    """The `FIGURES` of rows of counts that were made in so many seconds.

    NaN stands where nothing was there to be measured.
    """
    failed = counted[:, _OF["failures"]].sum(1)
    found = {rate: _number(counted, name) / seconds for rate, name in _RATES.items()}
    found["calls_per_s"] = (counted[:, _OF["request_time"]].sum(1) + failed) / seconds
    found["errors_per_s"] = failed / seconds
    found["rows_per_batch"] = _rows_per_batch(counted)
    for name, shares in _PERCENTILES.items():
        columns = percentiles(counted[:, _OF[name]], tuple(shares.values())) * 1e3
        found |= zip(shares, columns.T, strict=True)
    return np.column_stack([found[name] for name in FIGURES])


def _number(counted: Integers, name: str) -> Integers:
    found: Integers = counted[:, _OF[name].start]
    return found


def _rows_per_batch(counted: Integers) -> Numbers:
    rows = _number(counted, "inference_count")
    batches = _number(counted, "execution_count")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(batches > 0, rows / batches, np.nan)


def failures(counted: Integers, seconds: float) -> Numbers:
    """Failures a second, a column for each of `REASONS`."""
    return counted[:, _OF["failures"]] / seconds


def percentiles(counts: Integers, shares: tuple[float, ...]) -> Numbers:
    """Seconds, a column for each share, of rows of counts by bucket; NaN where there are none.

    Between a bucket's bounds values are taken to be spread evenly, as PromQL's histogram_quantile
    does, so that dashboards agree. What is beyond the last bound counts as that bound.
    """
    reached = counts.cumsum(1)
    totals = reached[:, -1]
    rows = np.arange(len(counts))
    columns = []
    for share in shares:
        rank = totals * share
        bucket = np.minimum((reached < rank[:, None]).sum(1), counts.shape[1] - 1)
        inside = counts[rows, bucket]
        below = reached[rows, bucket] - inside
        with np.errstate(divide="ignore", invalid="ignore"):
            part = (rank - below) / inside
        columns.append(
            np.where(
                totals > 0, _LOWER_S[bucket] + (_UPPER_S[bucket] - _LOWER_S[bucket]) * part, np.nan
            )
        )
    return np.column_stack(columns)
