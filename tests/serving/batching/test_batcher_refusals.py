"""A request whose deadline cannot be kept is refused at arrival.

No request is refused for measurements that are old.
"""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.errors import DeadlineExpired, ModelFailed, Overloaded
from gateway.core.plan import QueuePlan
from gateway.core.protection import AdmissionPlan, ProtectionPlan
from gateway.records.batch_counter import BatchCounter
from gateway.serving.batching.batcher import Batcher
from gateway.serving.policies.retry_budget import RetryBudget
from gateway.serving.runtime.threads.thread_lanes import ThreadSlots
from tests.support.batcher_parts import (
    Counts,
    Doubler,
    PuppetWorkers,
    plan,
    request,
    run,
    start,
    turns,
)

SECOND_A_RUN = ((1, 1e6),)  # half of it is believed while no run is seen


def batcher(workers, cost_us=SECOND_A_RUN, *, model=None, queue=None, **admission):
    """A batcher of runs of one row, for one worker."""
    made_plan = replace(
        plan(
            queue,
            useful_batch_size=1,
            protection=ProtectionPlan(admission=AdmissionPlan(**admission)),
        ),
        cost_us=cost_us,
    )
    loop = asyncio.get_running_loop()
    retries = RetryBudget(made_plan.protection.retry, loop.time)
    return Batcher(
        made_plan,
        ThreadSlots(model or Doubler(), workers, 1),
        listeners=(BatchCounter(Counts()),),
        retries=retries,
    )


def due(after_s, value=1, **options):
    """A request whose caller waits for `after_s`."""
    return request(value, deadline=asyncio.get_running_loop().time() + after_s, **options)


async def fate(made, *requests):
    """What became of requests at arrival: the class of the error, or None for one that waits."""
    tasks = start(made, *requests)
    await turns()
    return [type(task.exception()) if task.done() else None for task in tasks]


async def at_a_pace(made, workers, interval_s, batches=3):
    """Lets this batcher end batches at an interval, with a backlog that stays."""
    start(made, *(request(1) for _ in range(batches + 2)))
    await turns()
    for _ in range(batches):
        await asyncio.sleep(interval_s)
        workers.finish()
        await turns()


@pytest.mark.parametrize("after_s", [1e-6, 0.1, 100.0])
def test_a_lone_request_is_let_in_where_nothing_is_known(after_s):
    async def main():
        assert await fate(batcher(PuppetWorkers(), ()), due(after_s)) == [None]

    run(main())


def test_a_lone_request_on_an_idle_version_is_let_in_if_half_of_its_cost_is_left():
    async def main():
        assert await fate(batcher(PuppetWorkers()), due(0.51)) == [None]
        assert await fate(batcher(PuppetWorkers()), due(0.49)) == [DeadlineExpired]

    run(main())


def test_a_request_whose_time_is_over_is_refused():
    async def main():
        assert await fate(batcher(PuppetWorkers(), ()), due(-1.0)) == [DeadlineExpired]

    run(main())


@pytest.mark.parametrize(
    ("after_s", "expected"),
    [(1.2, DeadlineExpired), (1.3, Overloaded), (1.9, Overloaded), (2.1, None)],
)
def test_a_wait_of_more_than_half_of_the_slack_is_overload_and_one_that_is_too_long_is_too_late(
    after_s, expected
):
    """One request runs, one with a deadline waits: 0.25 s and 0.5 s before a run of 0.5 s."""

    async def main():
        made = batcher(PuppetWorkers())
        assert await fate(made, request(1)) == [None]
        assert await fate(made, due(100.0)) == [None]
        assert await fate(made, due(after_s)) == [expected]

    run(main())


def test_who_is_refused_is_told_how_much_time_was_left_and_how_much_is_needed():
    async def main():
        (task,) = start(batcher(PuppetWorkers()), due(0.1))
        with pytest.raises(
            DeadlineExpired, match=r"'m' version 1 is too busy .* 100\.0 ms are left.* 500\.0 ms"
        ):
            await task

    run(main())


def test_who_is_refused_takes_no_room_and_leaves_no_timer():
    async def main():
        made = batcher(PuppetWorkers())
        await fate(made, due(0.1), due(0.2), due(-1.0))
        assert made.idle
        assert made._batch_queue.bytes == 0
        assert made._timer._timer is None

    run(main())


def test_those_without_a_deadline_are_never_refused_and_nobody_with_one_waits_behind_them():
    async def main():
        made = batcher(PuppetWorkers())
        assert await fate(made, *(request(n) for n in range(50))) == [None] * 50
        assert await fate(made, due(1.1)) == [None]

    run(main())


def test_where_waits_are_not_to_be_predicted_nobody_is_refused():
    async def main():
        made = batcher(PuppetWorkers(), predict_wait=False)
        assert await fate(made, request(1), *(due(0.001) for _ in range(50))) == [None] * 51

    run(main())


def test_a_pace_that_is_seen_refuses_who_cannot_be_answered_at_it():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers, ())
        await at_a_pace(made, workers, 2.0)
        assert await fate(made, due(0.9)) == [DeadlineExpired]
        assert await fate(made, due(30.0)) == [None]

    run(main())


def test_a_pace_that_was_seen_long_ago_refuses_nobody():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers, ())
        await at_a_pace(made, workers, 2.0)
        await asyncio.sleep(1.1)
        assert await fate(made, due(0.9)) == [None]

    run(main())


def test_quick_runs_that_were_seen_long_ago_let_nobody_in_for_nothing():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers)
        start(made, request(1))
        await turns()
        workers.finish()  # in microseconds
        await turns()
        assert await fate(made, due(0.1)) == [None]
        workers.finish()
        await asyncio.sleep(1.1)
        assert await fate(made, due(0.1)) == [DeadlineExpired]

    run(main())


def test_who_would_be_answered_too_late_when_its_turn_comes_is_not_run():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, model=model)
        (failing,) = start(made, request(-1))
        await turns()
        late, early = start(made, due(3.0), due(3.5, 2))
        await asyncio.sleep(2.7)
        workers.finish()  # a failed run, which says nothing of how long runs take
        await turns()
        assert isinstance(failing.exception(), ModelFailed)
        assert isinstance(late.exception(), DeadlineExpired)
        workers.finish()
        assert (await early).outputs[0].tolist() == [[4]]
        assert model.batches == [[-1], [2]]
        assert made.idle
        assert made._batch_queue.bytes == 0

    run(main())


def test_a_default_deadline_counts_for_those_who_come_without_one():
    async def main():
        loop = asyncio.get_running_loop()
        made = batcher(PuppetWorkers(0), (), default_deadline_s=4.0)
        began = loop.time()
        (late,) = start(made, request(1))
        with pytest.raises(DeadlineExpired):
            await late
        assert loop.time() - began == pytest.approx(4.0)

    run(main())


@pytest.mark.parametrize("own_s", [1.0, 9.0])
def test_a_callers_own_deadline_counts_instead_of_the_default(own_s):
    async def main():
        loop = asyncio.get_running_loop()
        made = batcher(PuppetWorkers(0), (), default_deadline_s=4.0)
        began = loop.time()
        (late,) = start(made, due(own_s))
        with pytest.raises(DeadlineExpired):
            await late
        assert loop.time() - began == pytest.approx(own_s)

    run(main())


def test_whatever_is_shorter_counts_of_the_default_deadline_and_the_longest_wait():
    async def main():
        loop = asyncio.get_running_loop()
        made = batcher(
            PuppetWorkers(0),
            (),
            queue=QueuePlan(default_timeout_s=3.0, allow_timeout_override=True),
            default_deadline_s=4.0,
        )
        began = loop.time()
        tasks = start(made, request(1), request(1, timeout_s=2.0))
        with pytest.raises(DeadlineExpired):
            await tasks[1]
        assert loop.time() - began == pytest.approx(2.0)
        with pytest.raises(DeadlineExpired):
            await tasks[0]
        assert loop.time() - began == pytest.approx(3.0)

    run(main())


def test_a_default_deadline_that_cannot_be_kept_is_refused_at_arrival():
    async def main():
        assert await fate(batcher(PuppetWorkers(), default_deadline_s=0.1), request(1)) == [
            DeadlineExpired
        ]

    run(main())


def test_under_a_backlog_a_lower_level_is_served_by_its_share():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(
            workers,
            (),
            model=model,
            queue=QueuePlan(priority_levels=2),
            priority_shares=(0.0, 0.25),
        )
        tasks = start(
            made,
            *(request(1, priority=1) for _ in range(30)),
            *(request(2, priority=2) for _ in range(10)),
        )
        await turns()
        for _ in range(20):
            workers.finish()
            await turns()
        # the 5th, 9th, 13th and 17th: a share is earned before it is spent
        assert model.batches.count([2]) == 4
        for task in tasks:
            task.cancel()

    run(main())


RANK = {DeadlineExpired: 0, Overloaded: 1, None: 2}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6), st.floats(0.0, 12.0), st.floats(0.0, 12.0))
def test_a_longer_deadline_never_fares_worse_and_who_is_let_in_could_be_answered(
    waiting, one_s, other_s
):
    async def main():
        fates = []
        for after_s in sorted((one_s, other_s)):
            made = batcher(PuppetWorkers())
            assert await fate(made, request(1)) == [None]
            assert (
                await fate(made, *(due(math.inf if n % 2 else 1e6) for n in range(waiting)))
                == [None] * waiting
            )
            (became,) = await fate(made, due(after_s))
            timed = (waiting + 1) // 2
            assert became is not None or after_s >= 0.5 * (timed + 1) + 0.25 - 1e-6
            fates.append(RANK[became])
        assert fates == sorted(fates)

    run(main())
