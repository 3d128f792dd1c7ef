"""What the load tests compute from samples."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.figures import Slice, median_interval, paired_ratio, percentile, take_turns
from load_tests.tables import tabulate


class TestFigures:
    @pytest.mark.parametrize(
        ("n", "rank", "coverage"),
        [(6, 1, 0.96875), (10, 2, 0.97852), (20, 6, 0.95861), (40, 14, 0.96152)],
    )
    def test_interval_has_the_ranks_of_the_sign_test_tables(self, n, rank, coverage):
        interval = median_interval(list(range(1, n + 1)))
        assert (interval.low, interval.high) == (rank, n + 1 - rank)
        assert interval.coverage == pytest.approx(coverage, abs=1e-5)

    def test_five_values_give_their_extremes_and_say_that_it_is_less_than_95_percent(self):
        interval = median_interval([5.0, 1.0, 2.0, 4.0, 3.0])
        assert (interval.median, interval.low, interval.high, interval.coverage) == (
            3,
            1,
            5,
            0.9375,
        )
        assert "only 94% sure" in str(interval)

    @given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
    def test_interval_holds_the_median(self, values):
        interval = median_interval(values)
        assert min(values) <= interval.low <= interval.median <= interval.high <= max(values)

    def test_percentile_is_the_value_that_so_many_do_not_exceed(self):
        ordered = list(range(1, 101))
        assert [percentile(ordered, p) for p in (0, 1, 50, 99, 99.9, 100)] == [
            1,
            1,
            50,
            99,
            100,
            100,
        ]
        assert math.isnan(percentile([], 50))

    def test_a_slow_turn_does_not_move_the_paired_ratio(self):
        assert paired_ratio([20.0, 10.0, 20.0], [10.0, 5.0, 10.0]).median == 2

    def test_each_turn_begins_with_another_contestant_and_warm_up_is_dropped(self):
        order = []
        results = take_turns(
            {name: lambda name=name: order.append(name) or len(order) for name in "abc"},
            3,
            warm_up=1,
        )
        assert "".join(order) == "cab" + "abc" + "bca" + "cab"
        assert results["a"] == [4, 9, 11]

    def test_table_shows_a_fault_of_any_slice(self):
        slices = {
            "ours": [Slice(20, 1, 2), Slice(22, 1, 2, "late")],
            "theirs": [Slice(10, 2, 4), Slice(11, 2, 4)],
        }
        table = tabulate(
            "small", "calls_per_s", slices, {"ours": 1.0, "theirs": 1.0}, [("ours", "theirs")]
        )
        assert "WRONG ANSWERS: late" in str(table)
        assert "ours / theirs: calls_per_s 2.00" in str(table)
