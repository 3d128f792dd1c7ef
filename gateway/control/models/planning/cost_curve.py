"""What the measured cost of runs means for batching; decided in the control process."""

from __future__ import annotations

from collections.abc import Mapping

LOOP_LIMIT_US = 50.0
"""Microseconds; a shorter run is cheaper on the event loop than with a hop to a thread and back."""

_OWN_COST_US = 70.0
"""Microseconds that a batch costs besides its run.

A batch is joined, hops to a thread and back, and is taken apart (load_tests.process_workers
measured 76 us around a run of 7).
"""

_WORTH_WHILE = 1.05  # rows put together beyond this point save less than 5 % each, and cost waiting


def useful_batch_size(cost_us: Mapping[int, float], max_batch_size: int) -> int:
    """The smallest batch whose cost per row is within 5 % of the best; 1: batching does not pay.

    The gateway's own cost counts too. `cost_us`: microseconds of a run by its rows. Where no batch
    was measured the limit itself is returned, because nothing speaks against it.
    """
    per_row = {
        rows: (cost + _OWN_COST_US) / rows
        for rows, cost in cost_us.items()
        if 1 <= rows <= max_batch_size
    }
    if not any(rows > 1 for rows in per_row):
        return max_batch_size
    best = min(per_row.values())
    return min(rows for rows, cost in per_row.items() if cost <= best * _WORTH_WHILE)


def loop_batch_size(cost_us: Mapping[int, float], max_batch_size: int) -> int:
    """The largest measured batch that runs in under 50 us; 0: none does.

    `max_batch_size` 0 is a version without a batch axis, of which single requests count.
    """
    quick = [
        rows
        for rows, cost in cost_us.items()
        if rows <= max(max_batch_size, 1) and cost < LOOP_LIMIT_US
    ]
    return max(quick, default=0)
