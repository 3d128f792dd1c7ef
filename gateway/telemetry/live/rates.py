"""Rates and percentiles from two looks at the counters, for all versions at once.

A thousand versions cost a millisecond.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gateway.core.errors import REASONS
from gateway.records import counters as table
from gateway.records.histogram_bounds import TIME_BOUNDS_S
from gateway.records.version_counts import BUCKETS

Integers = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.float64]]

_HISTOGRAMS: Final = (table.REQUEST_TIME, table.QUEUE_TIME, table.COMPUTE_TIME)
_SINGLE: Final = (
    table.EXECUTION_COUNT,
    table.INFERENCE_COUNT,
    table.DEGRADED,
    table.RETRIES,
    table.INPUT_BYTES,
    table.OUTPUT_BYTES,
)
COLUMNS: Final = np.concatenate(
    [
        np.array(_SINGLE),
        table.FAILURES + np.arange(len(REASONS)),
        *[at + np.arange(BUCKETS) for at in _HISTOGRAMS],
    ]
)
"""The words of a row of the statistics table that are looked at."""
_BATCHES, _ROWS, _DEGRADED, _RETRIES, _INPUT, _OUTPUT = range(len(_SINGLE))
_FAILURES: Final = slice(len(_SINGLE), len(_SINGLE) + len(REASONS))
_REQUEST, _QUEUE, _COMPUTE = (
    slice(at, at + BUCKETS) for at in range(_FAILURES.stop, len(COLUMNS), BUCKETS)
)

FIGURES: Final = (
    "calls_per_s", "errors_per_s", "degraded_per_s", "retries_per_s", "rows_per_s", "batches_per_s",
    "rows_per_batch", "input_bytes_per_s", "output_bytes_per_s", "latency_p50_ms", "latency_p90_ms",
    "latency_p99_ms", "queue_p50_ms", "queue_p90_ms", "compute_p50_ms", "compute_p90_ms",
)  # fmt: skip
"""What `figures` tells, in its order.

Calls are all that ended, errors those of them that were not answered.
"""

_LOWER_S: Final = np.array((0.0, *TIME_BOUNDS_S))
_UPPER_S: Final = np.array((*TIME_BOUNDS_S, TIME_BOUNDS_S[-1]))


def figures(counted: Integers, seconds: float) -> Numbers:
    """The `FIGURES` of rows of counts that were made in so many seconds.

    NaN: nothing was there to be measured.
    """
    request = counted[:, _REQUEST]
    batches = counted[:, _BATCHES]
    rows = counted[:, _ROWS]
    failed = counted[:, _FAILURES].sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows_per_batch = rows / batches
    rates = np.column_stack(
        (
            request.sum(1) + failed,
            failed,
            counted[:, _DEGRADED],
            counted[:, _RETRIES],
            rows,
            batches,
        ),
    )
    sizes = np.column_stack((counted[:, _INPUT], counted[:, _OUTPUT]))
    request_ms = percentiles(request, (0.5, 0.9, 0.99)) * 1e3
    queue_ms, compute_ms = (
        percentiles(counted[:, part], (0.5, 0.9)) * 1e3 for part in (_QUEUE, _COMPUTE)
    )
    return np.column_stack(
        (
            rates / seconds,
            np.where(batches > 0, rows_per_batch, np.nan),
            sizes / seconds,
            request_ms,
            queue_ms,
            compute_ms,
        )
    )


def failures(counted: Integers, seconds: float) -> Numbers:
    """Failures a second, a column for each of `REASONS`."""
    return counted[:, _FAILURES] / seconds


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
