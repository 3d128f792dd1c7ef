"""Repeated runs are limited to a share of the first ones, and a few a second besides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.protection import RetryPlan
from gateway.serving.policies.retry_budget import RetryBudget


class Clock:
    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


def retry_budget(budget=0.2, floor=10):
    clock = Clock()
    return RetryBudget(RetryPlan(budget=budget, budget_floor=floor), clock), clock


def withdrawn(made, times):
    return sum(made.withdraw() for _ in range(times))


def deposit(made, times):
    for _ in range(times):
        made.deposit()


def test_a_few_may_be_repeated_before_anything_was_run_well():
    assert withdrawn(retry_budget(floor=10)[0], 100) == 10


def test_the_floor_comes_back_at_its_rate_and_is_not_saved_up():
    made, clock = retry_budget(floor=10)
    withdrawn(made, 100)
    clock.at += 0.55
    assert withdrawn(made, 100) == 5
    clock.at += 100
    assert withdrawn(made, 100) == 10


@pytest.mark.parametrize(("budget", "expected"), [(0.25, 10), (0.5, 20), (1.0, 40)])
def test_first_runs_earn_their_share_of_repeated_ones(budget, expected):
    made, _ = retry_budget(budget, floor=0)
    for _ in range(40):
        deposit(made, 1)
        expected -= made.withdraw()
    assert expected == 0


def test_what_first_runs_earned_is_saved_up_for_ten_seconds_of_the_floor():
    made, _ = retry_budget(0.5, floor=2)
    deposit(made, 10_000)
    assert withdrawn(made, 1000) == 20 + 2


def test_where_there_is_neither_share_nor_floor_nothing_is_repeated():
    made, clock = retry_budget(0.0, floor=0)
    deposit(made, 1000)
    clock.at += 1000
    assert withdrawn(made, 10) == 0


def test_without_a_floor_at_least_one_run_may_be_saved_up():
    made, _ = retry_budget(0.5, floor=0)
    deposit(made, 1000)
    assert withdrawn(made, 10) == 1


def test_the_share_is_used_before_the_floor():
    made, _ = retry_budget(1.0, floor=3)
    deposit(made, 5)
    assert withdrawn(made, 5) == 5
    assert "0.0 of the share, 3.0 of the floor" in repr(made)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 50)),
        st.tuples(st.just("retry"), st.integers(1, 50)),
        st.tuples(st.just("wait"), st.floats(0, 5)),
    ),
    max_size=60,
)


@given(st.floats(0, 1), st.integers(0, 20), STEPS)
def test_repeated_runs_never_exceed_the_share_of_first_ones_and_the_floor(budget, floor, steps):
    made, clock = retry_budget(budget, floor)
    runs = 0
    repeated = 0
    for kind, amount in steps:
        if kind == "run":
            deposit(made, amount)
            runs += amount
        elif kind == "retry":
            repeated += withdrawn(made, amount)
        else:
            clock.at += amount
        assert repeated <= budget * runs + floor * (clock.at - 1000.0 + 1.0) + 1e-6


@given(st.integers(1, 20), st.lists(st.floats(0.0, 3.0), max_size=30))
def test_the_floor_lets_so_many_through_in_every_second_whatever_the_share(floor, pauses):
    made, clock = retry_budget(0.0, floor)
    for pause in pauses:
        withdrawn(made, floor)
        clock.at += 1.0 + pause
        # the last one may miss by a rounding
        assert withdrawn(made, floor + 1) in (floor, floor - 1)
