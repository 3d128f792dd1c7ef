"""The measured cost of runs decides how many rows are worth putting together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.models.planning.cost_curve import loop_batch_size, useful_batch_size

CURVES = st.dictionaries(
    st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), st.floats(0.5, 1e6), max_size=8
)


@pytest.mark.parametrize(
    ("cost_us", "limit", "useful"),
    [
        ({1: 200, 4: 200, 8: 250, 16: 305, 32: 576, 64: 1047}, 64, 64),
        ({1: 6100, 16: 109_000}, 64, 1),
        ({1: 100_000, 2: 100_000, 4: 100_000, 8: 190_000, 16: 380_000}, 64, 8),
        ({1: 100_000, 2: 100_000, 4: 100_000, 8: 192_000, 16: 384_000}, 64, 4),
        # 55 us a row from 4 rows on, and 70 us for each batch
        ({1: 200, 2: 170, 4: 220, 8: 430, 16: 860, 32: 1770, 64: 3540}, 64, 16),
        ({1: 100, 2: 100, 4: 100, 8: 100}, 4, 4),
        ({}, 8, 8),
        ({1: 100}, 8, 8),
        ({1: 100, 16: 100}, 8, 8),
        ({1: 100}, 1, 1),
    ],
)
def test_the_smallest_batch_within_five_percent_of_the_best(cost_us, limit, useful):
    assert useful_batch_size(cost_us, limit) == useful


@pytest.mark.parametrize(
    ("cost_us", "limit", "rows"),
    [
        ({1: 10, 2: 20, 4: 49.9, 8: 50}, 64, 4),
        ({1: 10, 2: 20, 4: 40}, 2, 2),
        ({1: 50, 2: 100}, 64, 0),
        ({}, 64, 0),
        ({1: 49}, 0, 1),
        ({1: 51}, 0, 0),
        ({1: 10, 2: 10}, 0, 1),
    ],
)
def test_batches_under_fifty_microseconds_run_on_the_loop(cost_us, limit, rows):
    assert loop_batch_size(cost_us, limit) == rows


@given(CURVES, st.integers(1, 128))
def test_both_stay_within_the_limit(cost_us, limit):
    assert 1 <= useful_batch_size(cost_us, limit) <= limit
    assert 0 <= loop_batch_size(cost_us, limit) <= limit


@given(CURVES, st.integers(1, 128))
def test_a_quicker_machine_finds_no_smaller_batch_useful(cost_us, limit):
    """A quick model's batch pays more, because a batch's own cost weighs more there."""
    slow = {rows: cost * 1e4 for rows, cost in cost_us.items()}
    per_row = sorted(cost / rows for rows, cost in cost_us.items())
    if all(abs(cost / per_row[0] - 1.05) > 1e-2 for cost in per_row):
        assert useful_batch_size(cost_us, limit) >= useful_batch_size(slow, limit)
