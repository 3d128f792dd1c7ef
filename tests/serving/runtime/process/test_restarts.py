"""When a process is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.runtime.process.restarts import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    STABLE_S,
    Restarts,
)


def test_the_first_death_after_a_stable_time_is_followed_by_a_start_at_once():
    restarts = Restarts(5)
    assert restarts.died(STABLE_S) == 0
    assert restarts.died(0.1) > 0
    assert restarts.died(STABLE_S) == 0


def test_quick_deaths_wait_twice_as_long_each_time():
    restarts = Restarts(5, lambda: 0)
    assert [restarts.died(0) for _ in range(4)] == [
        FIRST_DELAY_S * factor for factor in (1, 2, 4, 8)
    ]


def test_starts_that_fail_one_after_the_other_end_it_and_one_that_succeeds_begins_anew():
    restarts = Restarts(3, lambda: 0)
    assert [restarts.start_failed() for _ in range(2)] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S]
    restarts.opened()
    assert [restarts.start_failed() for _ in range(3)] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S, None]


@given(st.lists(st.floats(0, 2 * STABLE_S), max_size=200), st.floats(0, 1))
def test_a_delay_is_never_longer_than_the_longest_and_chance_takes_half_at_most(lives, chance):
    by_chance = Restarts(5, lambda: chance)
    full = Restarts(5, lambda: 0)
    for lived in lives:
        delay = by_chance.died(lived)
        most = full.died(lived)
        assert most / 2 <= delay <= most <= LONGEST_DELAY_S
