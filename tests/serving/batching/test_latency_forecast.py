"""How long runs and waits take, as forecast.

The forecast is the measured curve, corrected by recent runs, which are forgotten when they are old.
"""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.batching.latency_forecast import LatencyForecast

CURVE = ((1, 100_000.0), (4, 160_000.0), (8, 400_000.0))  # seconds: 0.1, 0.16, 0.4
NOW = 1000.0


def forecast(cost_us=CURVE, batch_rows=8, max_concurrency=1):
    return LatencyForecast(cost_us, batch_rows, max_concurrency)


def as_the_curve(made, now=NOW):
    """The forecast after a run that took exactly as long as the curve says."""
    made.ran(1, 0.1, now, backlog=False)
    return made


def paced(made, interval_s, rows, batches=3, start=NOW, run_s=0.1):
    """Ends batches at this interval while requests wait; returns when the last one ended."""
    for number in range(batches):
        made.ran(rows, run_s, start + number * interval_s, backlog=True)
    return start + (batches - 1) * interval_s


def test_what_is_not_known_takes_no_time():
    made = forecast(())
    assert (made.run_s(5, NOW), made.answer_s(5, NOW), made.wait_s(100, NOW)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("rows", "expected_s"), [(1, 0.1), (2, 0.12), (4, 0.16), (6, 0.28), (8, 0.4), (16, 0.8)]
)
def test_runs_take_what_the_curve_says_between_its_points_and_in_proportion_beyond(
    rows, expected_s
):
    assert as_the_curve(forecast()).run_s(rows, NOW) == pytest.approx(expected_s)


def test_fewer_rows_than_were_measured_take_as_long_as_the_fewest():
    assert as_the_curve(forecast(((4, 100_000.0),))).run_s(1, NOW) == pytest.approx(0.1)


def test_half_of_the_curve_is_believed_while_no_run_was_seen():
    assert forecast().run_s(8, NOW) == pytest.approx(0.2)


def test_the_first_run_that_is_seen_corrects_the_whole_curve_at_once():
    made = forecast()
    made.ran(4, 0.32, NOW, backlog=False)
    assert made.run_s(8, NOW) == pytest.approx(0.8)


def test_one_run_that_is_too_long_changes_nothing_and_one_that_is_too_short_counts_for_a_tenth():
    """The best of the last seconds counts.

    A version that is slow because it refuses others must not refuse more.
    """
    made = as_the_curve(forecast())
    made.ran(1, 1.1, NOW + 0.1, backlog=False)
    assert made.run_s(1, NOW + 0.1) == pytest.approx(0.1)
    made = as_the_curve(forecast())
    made.ran(1, 0.05, NOW + 0.1, backlog=False)
    assert made.run_s(1, NOW + 0.1) == pytest.approx(0.095)


def test_runs_that_stay_slow_are_believed_in_the_end():
    made = as_the_curve(forecast())
    for number in range(100):
        made.ran(1, 0.3, NOW + number * 0.3, backlog=False)
    assert made.run_s(8, NOW + 30) == pytest.approx(1.2, rel=0.01)


def test_a_slow_run_is_forgotten_after_a_second():
    made = forecast()
    made.ran(1, 50.0, NOW, backlog=False)
    assert made.run_s(1, NOW + 1.0) == pytest.approx(50)
    assert made.run_s(1, NOW + 1.1) == pytest.approx(0.05)


def test_without_a_curve_the_first_run_is_one():
    made = forecast(())
    made.ran(2, 0.2, NOW, backlog=False)
    assert made.run_s(8, NOW) == pytest.approx(0.8)


def test_a_run_that_failed_says_nothing():
    made = forecast()
    other = forecast()
    made.ran(8, 0.0, NOW, backlog=True)
    assert repr(made) == repr(other)
    assert made.run_s(8, NOW) == other.run_s(8, NOW)


def test_who_waits_is_predicted_by_the_curve_and_the_lanes_while_there_is_no_pace():
    assert forecast().wait_s(16, NOW) == pytest.approx(0.4)
    assert forecast(max_concurrency=2).wait_s(16, NOW) == pytest.approx(0.2)


def test_the_pace_at_which_batches_end_counts_for_more_than_their_runs():
    made = forecast()
    now = paced(made, 0.8, rows=8)
    assert made.wait_s(16, now) == pytest.approx(1.6)


def test_while_there_is_a_pace_an_answer_takes_half_of_its_rows_time_besides_the_run():
    made = forecast()
    now = paced(made, 0.8, rows=8)
    assert made.answer_s(4, now) == pytest.approx(made.run_s(4, now) + 0.2)
    assert made.answer_s(4, now + 1.1) == made.run_s(4, now + 1.1)


def test_a_pace_is_forgotten_after_a_second():
    made = forecast()
    now = paced(made, 0.8, rows=1)
    assert made.wait_s(8, now + 1.1) == forecast().wait_s(8, now)


@pytest.mark.parametrize("between", ["nobody waited", "it failed", "the machine slept"])
def test_a_pace_is_measured_only_between_batches_that_others_waited_behind(between):
    made = forecast()
    made.ran(1, 0.1, NOW, backlog=between != "nobody waited")
    if between == "it failed":
        made.ran(1, 0.0, NOW + 0.1, backlog=True)
    end = NOW + (11.0 if between == "the machine slept" else 0.9)
    made.ran(1, 0.1, end, backlog=True)
    assert made.wait_s(8, end) == pytest.approx(made.run_s(8, end))


def test_two_lanes_that_end_in_turn_make_one_pace():
    made = forecast(max_concurrency=2)
    now = paced(made, 0.1, rows=8, batches=50, run_s=0.4)
    assert made.wait_s(80, now) == pytest.approx(1.0)


CURVES = st.lists(st.integers(1, 128), unique=True, max_size=6).flatmap(
    lambda sizes: st.lists(st.floats(1, 1e6), min_size=len(sizes), max_size=len(sizes)).map(
        lambda costs: tuple(zip(sorted(sizes), sorted(costs), strict=True))
    )
)
RUNS = st.lists(
    st.tuples(
        st.integers(0, 128), st.floats(0, 100) | st.just(0.0), st.floats(0, 20), st.booleans()
    ),
    max_size=30,
)


@given(CURVES, st.integers(0, 64), st.integers(0, 4), RUNS, st.floats(0, 3))
def test_whatever_was_seen_predictions_are_times_and_more_rows_never_take_less(
    curve, batch_rows, max_concurrency, runs, later
):
    made = LatencyForecast(curve, batch_rows, max_concurrency)
    now = NOW
    for rows, run_s, after_s, backlog in runs:
        now += after_s
        made.ran(rows, run_s, now, backlog=backlog)
    now += later
    for predict in (made.run_s, made.answer_s, made.wait_s):
        times = [predict(rows, now) for rows in range(0, 200, 7)]
        assert all(0 <= time < math.inf for time in times)
        assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(times))


@given(CURVES.filter(bool), RUNS, st.floats(1.001, 1e6))
def test_after_a_second_without_a_run_nothing_that_was_seen_counts(curve, runs, later):
    made = LatencyForecast(curve, 8, 1)
    fresh = LatencyForecast(curve, 8, 1)
    now = NOW
    for rows, run_s, after_s, backlog in runs:
        now += after_s
        made.ran(rows, run_s, now, backlog=backlog)
    for rows in (1, 8, 100):
        assert made.answer_s(rows, now + later) == fresh.answer_s(rows, now + later)
        assert made.wait_s(rows, now + later) == fresh.wait_s(rows, now + later)
