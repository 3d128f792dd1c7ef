"""Percentiles and rates from counts by bucket."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.counting.counter_values import BUCKETS
from gateway.records.histogram_bounds import TIME_BOUNDS_S
from gateway.telemetry.live.rates import COLUMNS, FIGURES, figures, percentiles

counts = st.lists(st.integers(0, 1000), min_size=BUCKETS, max_size=BUCKETS)


@given(st.lists(counts, min_size=1, max_size=5))
def test_a_percentile_lies_in_the_bucket_that_holds_it(rows):
    table = np.array(rows, np.int64)
    lower = (0.0, *TIME_BOUNDS_S)
    upper = (*TIME_BOUNDS_S, TIME_BOUNDS_S[-1])
    for row, found in zip(rows, percentiles(table, (0.5, 0.9, 0.99)).tolist(), strict=True):
        values = [bucket for bucket, count in enumerate(row) for _ in range(count)]
        for share, value in zip((0.5, 0.9, 0.99), found, strict=True):
            if not values:
                assert np.isnan(value)
                continue
            bucket = values[max(int(np.ceil(share * len(values))) - 1, 0)]
            assert lower[bucket] - 1e-12 <= value <= upper[bucket] + 1e-12


@given(counts)
def test_a_higher_percentile_is_never_lower(row):
    found = percentiles(np.array([row], np.int64), (0.5, 0.9, 0.99))[0]
    assert np.isnan(found).all() or (np.diff(found) >= 0).all()


def test_what_is_beyond_the_last_bound_counts_as_that_bound():
    row = [0] * (BUCKETS - 1) + [7]
    assert percentiles(np.array([row], np.int64), (0.5,))[0] == pytest.approx(10.0)


def test_nothing_counted_has_rates_of_zero_and_no_percentiles():
    found = dict(
        zip(FIGURES, figures(np.zeros((1, len(COLUMNS)), np.int64), 5.0)[0].tolist(), strict=True)
    )
    assert {name for name, value in found.items() if value == 0} == {
        name for name in FIGURES if name.endswith("_per_s")
    }
    assert all(np.isnan(value) for name, value in found.items() if not name.endswith("_per_s"))
