"""What the load tests compute from samples, and how they read other programs' output."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.figures import Slice, median_interval, paired_ratio, percentile, take_turns
from load_tests.ghz_run import parse_report
from load_tests.h2load import parse_log, parse_output
from load_tests.tables import tabulate
from load_tests.tools import go_version

H2LOAD_OUTPUT = """\
finished in 20.93ms, 1910.77 req/s, 256.76KB/s
requests: 40 total, 40 started, 40 done, 40 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 40 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 5.38KB (5504) total, 270B (270) headers (space savings 91.67%), 3.09KB (3160) data
"""
H2LOAD_LOG = "1795487366471945\t200\t8098\n1795487366471945\t200\t2131\n1795487366471946\t200\t8132\n"
GHZ_OUTPUT = """{"count": 4711, "rps": 4616.95, "errorDistribution": {"rpc error: code = Unavailable desc = full": 11},
"statusCodeDistribution": {"OK": 4700, "Unavailable": 11},
"latencyDistribution": [{"percentage": 50, "latency": 25952588}, {"percentage": 99, "latency": 49649800}]}"""


class TestFigures:
    @pytest.mark.parametrize(("n", "rank", "coverage"), [(6, 1, 0.96875), (10, 2, 0.97852), (20, 6, 0.95861), (40, 14, 0.96152)])
    def test_interval_has_the_ranks_of_the_sign_test_tables(self, n, rank, coverage):
        interval = median_interval(list(range(1, n + 1)))
        assert (interval.low, interval.high) == (rank, n + 1 - rank)
        assert interval.coverage == pytest.approx(coverage, abs=1e-5)

    def test_five_values_give_their_extremes_and_say_that_it_is_less_than_95_percent(self):
        interval = median_interval([5.0, 1.0, 2.0, 4.0, 3.0])
        assert (interval.median, interval.low, interval.high, interval.coverage) == (3, 1, 5, 0.9375)
        assert "only 94% sure" in str(interval)

    @given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
    def test_interval_holds_the_median(self, values):
        interval = median_interval(values)
        assert min(values) <= interval.low <= interval.median <= interval.high <= max(values)

    def test_percentile_is_the_value_that_so_many_do_not_exceed(self):
        ordered = list(range(1, 101))
        assert [percentile(ordered, p) for p in (0, 1, 50, 99, 99.9, 100)] == [1, 1, 50, 99, 100, 100]
        assert math.isnan(percentile([], 50))

    def test_a_slow_turn_does_not_move_the_paired_ratio(self):
        assert paired_ratio([20.0, 10.0, 20.0], [10.0, 5.0, 10.0]).median == 2

    def test_each_turn_begins_with_another_contestant_and_warm_up_is_dropped(self):
        order = []
        results = take_turns({name: lambda name=name: order.append(name) or len(order) for name in "abc"}, 3, warm_up=1)
        assert "".join(order) == "cab" + "abc" + "bca" + "cab"
        assert results["a"] == [4, 9, 11]

    def test_table_shows_a_fault_of_any_slice(self):
        slices = {"ours": [Slice(20, 1, 2), Slice(22, 1, 2, "late")], "theirs": [Slice(10, 2, 4), Slice(11, 2, 4)]}
        table = tabulate("small", "calls_per_s", slices, {"ours": 1.0, "theirs": 1.0}, [("ours", "theirs")])
        assert "WRONG ANSWERS: late" in str(table)
        assert "ours / theirs: calls_per_s 2.00" in str(table)


class TestOutputOfOtherTools:
    def test_h2load_summary(self):
        output = parse_output(H2LOAD_OUTPUT)
        assert (output.succeeded, output.failed, output.data_bytes, output.calls_per_s) == (40, 0, 3160, 1910.77)
        assert output.fault(40, 79) == ""

    def test_h2load_successes_with_too_few_bytes_are_a_fault(self):
        """GRPC errors come as HTTP 200 without DATA, and h2load calls them successes."""
        assert "got 3160" in parse_output(H2LOAD_OUTPUT).fault(40, 80)
        assert "40 of 41" in parse_output(H2LOAD_OUTPUT).fault(41, 79)

    def test_h2load_log_gives_ascending_milliseconds(self):
        assert parse_log(H2LOAD_LOG) == [2.131, 8.098, 8.132]

    def test_h2load_text_without_a_summary_is_named(self):
        with pytest.raises(ValueError, match="succeeded"):
            parse_output("h2load: no such option")

    def test_ghz_report_counts_what_was_not_ok(self):
        found = parse_report(GHZ_OUTPUT)
        assert (found.failed, found.statuses["Unavailable"], found.latency_ms[99]) == (11, 11, 49.6498)
        assert "11 calls: rpc error" in str(found)

    def test_ghz_report_without_calls_is_a_failure(self):
        assert parse_report('{"count": 0, "rps": 0, "statusCodeDistribution": null}').failed == 1

    def test_go_version_compares_by_number(self):
        assert go_version("go version go1.26.8 linux/amd64") >= (1, 24, 6)
        assert go_version("go version go1.9 linux/amd64") < (1, 24, 6)
        assert go_version("command not found") == ()
