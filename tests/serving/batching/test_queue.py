"""What the queue does with deadlines, priority levels and requests that come back.

No request is lost, and none is counted twice.
"""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.plan import BatchingPlan
from gateway.serving.batching.queue import BatchQueue
from tests.support.queue_entry import Entry

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("add"),
            st.integers(1, 5),
            st.integers(1, 3),
            st.sampled_from([math.inf, 1.0, 2.0, 4.0]),
            st.sampled_from(["x", "y"]),
        ),
        st.tuples(st.just("forget"), st.integers(0, 50)),
        st.tuples(st.just("again"), st.integers(0, 50)),
        st.tuples(st.just("expire")),
        st.tuples(st.just("take"), st.sampled_from([0.0, 0.5, 2.5])),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0])),
    ),
    max_size=80,
)


def batch_queue(shares=(), rows=4, **batching):
    return BatchQueue(
        BatchingPlan(**{"max_batch_size": rows, "useful_batch_size": rows, **batching}), shares
    )


def filled(made, *entries):
    for entry in entries:
        made.add(entry)
    return entries


def test_only_those_with_a_deadline_count_as_timed():
    made = batch_queue()
    entries = filled(made, Entry(2), Entry(3, deadline=9.0), Entry(1, deadline=8.0))
    assert (made.rows, made.timed_rows) == (6, 4)
    entries[1].settled = True
    made.forget(entries[1])
    assert (made.rows, made.timed_rows) == (3, 1)
    made.next_batch(0.0)
    assert (made.count, made.rows, made.timed_rows) == (0, 0, 0)


@pytest.mark.parametrize("how", ["take", "expire"])
def test_those_who_expire_are_timed_no_more(how):
    made = batch_queue()
    late, early = filled(made, Entry(2, deadline=1.0), Entry(1, deadline=5.0))
    expired = made.next_batch(2.0).expired if how == "take" else made.expire(2.0)
    assert expired == [late]
    assert made.timed_rows == (0 if how == "take" else early.rows)


def test_who_would_be_answered_too_late_expires_before_it_is_run():
    made = batch_queue()
    late, early, never = filled(made, Entry(deadline=2.0), Entry(deadline=2.6), Entry())
    decision = made.next_batch(1.0, answered_at=2.5)
    assert decision.expired == [late]
    assert decision.batch == [early, never]
    assert (made.count, made.timed_rows) == (0, 0)


def test_without_a_prediction_a_deadline_counts_only_once_it_has_passed():
    made = batch_queue()
    entries = filled(made, Entry(deadline=2.0), Entry(deadline=2.6))
    assert made.next_batch(1.999).batch == list(entries)


def test_where_all_would_be_late_nothing_is_run():
    made = batch_queue()
    entries = filled(made, Entry(deadline=2.0), Entry(deadline=2.1, key=("y",)))
    decision = made.next_batch(1.0, answered_at=3.0)
    assert (decision.batch, decision.rows, decision.wait_s) == ([], 0, None)
    assert set(map(id, decision.expired)) == set(map(id, entries))
    assert made.count == 0


def test_who_comes_back_stands_where_it_stood():
    made = batch_queue(rows=1)
    first, second, third = filled(made, Entry(), Entry(), Entry())
    assert made.next_batch(0.0).batch == [first]
    first.key = ("its own",)
    made.add_again(first)
    assert [made.next_batch(0.0).batch for _ in range(3)] == [[first], [second], [third]]


def test_who_comes_back_is_counted_again():
    made = batch_queue()
    (entry,) = filled(made, Entry(3, deadline=5.0))
    made.next_batch(0.0)
    made.add_again(entry)
    assert (made.count, made.rows, made.timed_rows) == (1, 3, 3)
    assert made.next_deadline() == 5.0


def test_levels_are_served_by_urgency_and_their_lines_by_deadline():
    made = batch_queue(shares=(0.0, 0.0))
    low, late, soon = filled(
        made,
        Entry(level=2, deadline=1.0),
        Entry(level=1, deadline=9.0),
        Entry(level=1, deadline=5.0, key=("y",)),
    )
    assert [made.next_batch(0.0).batch for _ in range(3)] == [[soon], [late], [low]]


def test_requests_of_two_levels_never_share_a_batch():
    made = batch_queue(shares=(0.1, 0.1), rows=8)
    urgent, other = filled(made, Entry(level=1), Entry(level=2))
    assert made.next_batch(0.0).batch == [urgent]
    assert made.next_batch(0.0).batch == [other]


def backlogged(made, levels, turns, rows):
    """Takes batches while requests of every level wait; returns the rows that each level got."""
    got = dict.fromkeys(levels, 0)
    waiting = dict.fromkeys(levels, 0)
    for _ in range(turns):
        for level in levels:
            while waiting[level] < 2 * rows:
                made.add(Entry(level=level))
                waiting[level] += 1
        batch = made.next_batch(0.0).batch
        assert len({entry.level for entry in batch}) == 1
        got[batch[0].level] += len(batch)
        waiting[batch[0].level] -= len(batch)
    return got


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.1, 0.3), (0.0, 0.2, 0.7), (0.25, 0.25, 0.25, 0.25)]
)
def test_under_a_backlog_every_level_gets_its_share_of_the_rows(shares):
    got = backlogged(batch_queue(shares=shares, rows=4), range(1, len(shares) + 1), 400, 4)
    for level, share in enumerate(shares, start=1):
        assert got[level] >= share * 1600 - 12


def test_a_level_that_has_gone_comes_back_without_anything_saved_up():
    made = batch_queue(shares=(0.5, 0.5), rows=1)
    filled(made, *(Entry(level=1) for _ in range(6)))
    (gone,) = filled(made, Entry(level=2))
    assert [made.next_batch(0.0).batch[0].level for _ in range(2)] == [1, 1]
    gone.settled = True
    made.forget(gone)
    assert made.next_batch(0.0).batch[0].level == 1
    made.next_batch(0.0)
    filled(made, Entry(level=2))
    assert made.next_batch(0.0).batch[0].level == 1


@settings(max_examples=300, deadline=None)
@given(
    STEPS,
    st.sampled_from([(), (0.2, 0.3, 0.5)]),
    st.sampled_from([0, 4]),
    st.sampled_from([0.0, 0.3]),
)
def test_whatever_happens_all_who_wait_are_counted_and_each_leaves_once(
    steps, shares, limit, delay_s
):
    made = batch_queue(shares, limit, max_queue_delay_s=delay_s)
    now = 0.0
    waiting = []
    taken = []
    for kind, *arguments in steps:
        if kind == "add":
            rows, level, after_s, name = arguments
            entry = Entry(rows, level if shares else 0, now + after_s, now, (name,))
            made.add(entry)
            waiting.append(entry)
        elif kind == "forget" and waiting:
            entry = waiting.pop(arguments[0] % len(waiting))
            entry.settled = True
            made.forget(entry)
        elif kind == "again" and taken:
            entry = taken.pop(arguments[0] % len(taken))
            entry.key = ("again", entry.order)
            made.add_again(entry)
            waiting.append(entry)
        elif kind == "expire":
            for entry in made.expire(now):
                assert entry.deadline <= now
                waiting.remove(entry)
        elif kind == "take":
            answered_at = now + arguments[0]
            decision = made.next_batch(now, answered_at)
            assert decision.rows == sum(entry.rows for entry in decision.batch)
            assert len(decision.batch) <= 1 or decision.rows <= limit
            assert len({(entry.key, entry.level) for entry in decision.batch}) <= 1
            for entry in decision.batch:
                assert entry.deadline > answered_at
            for entry in decision.expired:
                assert entry.deadline <= answered_at
            for entry in (*decision.batch, *decision.expired):
                assert not entry.settled
                waiting.remove(entry)
            if not decision.batch and decision.wait_s is None:
                assert not waiting
            taken += decision.batch
        elif kind == "wait":
            now += arguments[0]
        assert made.count == len(waiting)
        assert made.rows == sum(entry.rows for entry in waiting)
        assert made.timed_rows == sum(entry.rows for entry in waiting if entry.deadline != math.inf)
        assert made.next_deadline() == min((entry.deadline for entry in waiting), default=math.inf)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([math.inf, 3.0, 7.0])), min_size=1, max_size=30
    )
)
def test_of_one_level_and_form_nobody_overtakes_an_earlier_deadline(asked):
    made = batch_queue(rows=3)
    entries = filled(made, *(Entry(rows, deadline=deadline) for rows, deadline in asked))
    left = []
    while made.count:
        left += made.next_batch(0.0).batch
    assert left == sorted(entries, key=lambda entry: (entry.deadline, entry.order))
