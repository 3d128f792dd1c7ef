"""What becomes of a failed batch: the table of `retry`, line by line."""

import math

import pytest

from gateway.core.errors import DeadlineExpired, InstanceFailed, ModelFailed
from gateway.core.outcome import Outcome
from gateway.core.protection import RetryPlan
from gateway.core.request import InferenceRequest, RequestForm
from gateway.serving.batching.batch import Batch
from gateway.serving.batching.bisection import Bisection
from gateway.serving.batching.queued_request import QueuedRequest
from gateway.serving.batching.retry import Retry
from gateway.serving.policies.retry_budget import RetryBudget

LOST = InstanceFailed("lost")
WRONG = ModelFailed("wrong")


def retry(attempts=2, floor=10):
    return Retry(attempts, RetryBudget(RetryPlan(budget=0.0, budget_floor=floor), lambda: 0.0))


def queued(count):
    form = RequestForm(names=(), key=("x",), rows=1, input_bytes=4, outputs=(0,), parameters={})
    return [
        QueuedRequest(lambda _gone: None, InferenceRequest(form, (), 0.0), 0, math.inf)
        for _ in range(count)
    ]


def failed(entries, error, generation=3):
    batch = Batch([entry.request for entry in entries], len(entries), ())
    batch.generation = generation
    batch.started_ns = 1
    batch.fail(error)
    return batch


def test_whoever_was_not_given_the_time_is_not_run_again_and_nothing_is_learnt():
    entries = queued(2)
    batch = failed(entries, DeadlineExpired("late"))
    assert not retry().parts(batch, entries)
    assert (batch.outcome, batch.run_again) == (Outcome.NEUTRAL, ())


@pytest.mark.parametrize("error", [LOST, WRONG])
def test_where_all_callers_have_left_there_is_no_outcome_at_all(error):
    entries = queued(2)
    for entry in entries:
        entry.cancel()
    batch = failed(entries, error)
    assert not retry().parts(batch, entries)
    assert (batch.outcome, batch.run_again) == (None, ())


@pytest.mark.parametrize("error", [LOST, WRONG])
def test_whoever_still_waits_is_run_again_in_halves_each_in_a_line_of_its_own(error):
    entries = queued(4)
    entries[1].cancel()
    batch = failed(entries, error)
    parts = retry().parts(batch, entries)
    assert [list(part) for part in parts] == [[entries[0], entries[2]], [entries[3]]]
    assert list(batch.run_again) == [entries[n].request for n in (0, 2, 3)]
    assert batch.outcome is None
    assert entries[0].key == entries[2].key != entries[3].key
    assert entries[0].bisection is entries[3].bisection is not None


@pytest.mark.parametrize(
    ("error", "count", "options"),
    [(WRONG, 1, {}), (LOST, 2, {"attempts": 1}), (LOST, 2, {"floor": 0})],
    ids=["alone with its values", "no attempt is left", "no budget is left"],
)
def test_what_cannot_be_run_again_has_failed(error, count, options):
    entries = queued(count)
    batch = failed(entries, error)
    assert not retry(**options).parts(batch, entries)
    assert (batch.outcome, batch.generation, batch.run_again) == (Outcome.FAILURE, 3, ())


def test_a_lone_request_whose_instance_was_lost_is_run_again_as_it_is():
    entries = queued(1)
    assert [list(part) for part in retry().parts(failed(entries, LOST), entries)] == [entries]


@pytest.mark.parametrize(
    ("first_answered", "outcome"), [(True, Outcome.SUCCESS), (False, Outcome.FAILURE)]
)
def test_the_last_part_carries_what_all_taught_in_the_generation_of_the_first_batch(
    first_answered, outcome
):
    bisection = Bisection(3)
    bisection.divide(2)
    first, last = (failed(queued(1), WRONG, generation=9) for _ in range(2))
    first.elapsed_s = 5.0
    last.elapsed_s = 1.0
    if first_answered:
        bisection.part_answered(first)
    else:
        bisection.part_failed(first)
    assert (first.outcome, first.generation) == (None, 9)
    bisection.part_failed(last)
    assert (last.outcome, last.generation, last.elapsed_s) == (outcome, 3, 5.0)
