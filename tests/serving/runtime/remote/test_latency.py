"""How long an instance is expected to take."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.runtime.remote.latency import MovingLatency

durations = st.floats(1e-6, 100)


def after(*taken, now=0.0):
    made = MovingLatency()
    for duration_s in taken:
        made.add(duration_s, now)
    return made


def test_nothing_is_known_before_the_first_batch():
    assert MovingLatency().expected_s(5.0) == 0.0


@given(durations)
def test_the_first_batch_is_what_is_known(taken_s):
    assert after(taken_s).expected_s(0.0) == taken_s


@given(st.lists(durations, min_size=1, max_size=60))
def test_it_lies_among_the_last_batches(taken):
    assert min(taken[-16:]) <= after(*taken).expected_s(0.0) <= max(taken[-16:])


def test_one_long_pause_changes_nothing():
    assert after(*[0.01] * 20, 5.0).expected_s(0.0) == 0.01


def test_a_change_that_stays_is_known_after_nine_batches():
    assert after(*[0.01] * 16, *[1.0] * 9).expected_s(0.0) == 1.0


@given(durations, st.floats(0, 1000))
def test_what_is_known_is_forgotten_while_nothing_runs(taken_s, idle_s):
    expected_s = after(taken_s).expected_s(idle_s)
    assert expected_s <= taken_s
    assert after(taken_s).expected_s(idle_s + 10) <= expected_s * 0.51


@given(durations, durations)
def test_a_batch_under_way_for_longer_counts_at_once(taken_s, oldest_s):
    assert after(taken_s).expected_s(0.0, oldest_s) == max(taken_s, oldest_s)
