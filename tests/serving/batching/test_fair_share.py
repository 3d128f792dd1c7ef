"""The most urgent level goes first, and no level that waits gets less than its share for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.batching.fair_share import FairShare, default_shares


def serve(shares, waiting, turns, rows=8):
    """Serves full batches while all of these levels wait; returns the level of each turn."""
    order = []
    for _ in range(turns):
        order.append(shares.choose(waiting))
        shares.served(order[-1], rows, waiting)
    return order


def test_the_most_urgent_level_goes_first():
    assert FairShare((0.1, 0.1, 0.1), 8).choose({2, 3}) == 2


def test_levels_without_a_share_wait_for_ever():
    assert set(serve(FairShare((0.0, 0.0), 8), {1, 2}, 100)) == {1}


def test_a_level_goes_first_once_it_has_earned_a_batch():
    assert serve(FairShare((0.25, 0.25), 8), {1, 2}, 5) == [1, 1, 1, 1, 2]


def test_a_level_earns_from_its_own_rows_too():
    assert serve(FairShare((0.5, 0.5), 8), {1, 2}, 7) == [1, 1, 2, 1, 2, 1, 2]


def test_who_is_owed_most_goes_first():
    shares = FairShare((0.0, 0.3, 0.6), 8)
    assert serve(shares, {1, 2, 3}, 3)[2] == 3


def test_a_share_is_not_saved_up_while_nobody_of_the_level_waits():
    shares = FairShare((0.5, 0.5), 8)
    serve(shares, {1, 2}, 2)
    serve(shares, {1}, 1)
    assert shares.choose({1, 2}) == 1


def test_what_is_earned_is_lost_when_the_level_is_not_among_those_to_choose_from():
    shares = FairShare((0.2, 0.5, 0.1), 8)
    serve(shares, {1, 2, 3}, 2)
    assert shares.choose({1, 3}) == 1
    assert shares.choose({1, 2, 3}) == 1


def test_no_level_saves_up_more_than_two_batches():
    shares = FairShare((0.0, 1.0), 8)
    for _ in range(100):
        shares.served(1, 8, {1, 2})
    assert serve(shares, {1, 2}, 1) == [2]
    assert "16 rows earned" in repr(shares)


def test_what_is_not_a_full_batch_is_paid_by_its_rows():
    shares = FairShare((0.5, 0.5), 8)
    serve(shares, {1, 2}, 2)
    shares.served(2, 1, {1, 2})
    assert serve(shares, {1, 2}, 2) == [1, 2]


@pytest.mark.parametrize("levels", [1, 2, 3, 7])
def test_by_default_half_goes_by_urgency_alone_and_half_evenly(levels):
    shares = default_shares(levels)
    assert len(set(shares)) == 1
    assert sum(shares) == pytest.approx(0.5)
    order = serve(FairShare(shares, 8), set(range(1, levels + 1)), 1000)
    assert order.count(1) / 1000 == pytest.approx(0.5 + 0.5 / levels, abs=0.02)


SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=6).map(
    lambda raw: tuple(share / max(1.0, sum(raw)) for share in raw)
)


@given(SHARES, st.integers(1, 64), st.integers(1, 300))
def test_every_level_that_waits_gets_its_share_to_within_a_few_batches(
    given_shares, batch_rows, turns
):
    levels = range(1, len(given_shares) + 1)
    order = serve(FairShare(given_shares, batch_rows), set(levels), turns, rows=batch_rows)
    for level, share in zip(levels, given_shares, strict=True):
        assert order.count(level) >= share * turns - 2.5 - len(given_shares)


@given(
    SHARES,
    st.lists(st.tuples(st.sets(st.integers(1, 6), min_size=1), st.integers(1, 8)), max_size=60),
)
def test_the_level_that_is_chosen_is_one_that_waits(given_shares, turns):
    shares = FairShare(given_shares, 8)
    for some, rows in turns:
        waiting = {1 + (level - 1) % len(given_shares) for level in some}
        level = shares.choose(waiting)
        assert level in waiting
        shares.served(level, rows, waiting)
        assert all(0.0 <= earned <= 16.0 for earned in shares._earned.values())
