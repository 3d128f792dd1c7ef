"""The batcher on virtual time: every caller is answered exactly once, whatever the others do."""

import asyncio
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import DeadlineExpired, ModelFailed, Overloaded
from gateway.core.plan import QueuePlan
from gateway.serving.batching.splitter import Splitter
from tests.support.batcher_parts import (
    Counts,
    Doubler,
    PuppetWorkers,
    batcher,
    request,
    run,
    start,
    turns,
    values,
)


def test_those_who_wait_while_a_worker_is_busy_go_together():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model)
        first = start(made, request(1))
        await turns()
        rest = start(made, request(2), request(3, 2), request(4))
        await turns()
        workers.finish()
        await turns()
        workers.finish()
        await turns()
        assert model.batches == [[1], [2, 3, 3, 4]]
        assert values(first + rest) == [[2], [4], [6, 6], [8]]
        assert made.idle

    run(main())


def test_a_batch_holds_no_more_rows_than_are_useful():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model, useful_batch_size=4)
        tasks = start(made, *(request(i, 2) for i in range(5)))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert [len(b) for b in model.batches] == [4, 4, 2]
        assert len(values(tasks)) == 5

    run(main())


def test_requests_of_other_shapes_ride_in_other_batches():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model)
        tasks = start(made, request(1), request(2, width=3), request(3))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert model.batches == [[1, 3], [2]]
        assert values(tasks) == [[2], [4], [6]]

    run(main())


def test_the_earliest_deadline_goes_first_within_a_priority_level():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(
            workers, runner=model, useful_batch_size=1, queue=QueuePlan(priority_levels=3)
        )
        now = asyncio.get_running_loop().time()
        tasks = start(
            made,
            request(1),
            request(2, deadline=now + 9),
            request(3, deadline=now + 5),
            request(4, priority=1),
            request(5, priority=2),
        )
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert model.batches == [[4], [5], [3], [2], [1]]
        await asyncio.gather(*tasks)

    run(main())


def test_an_expired_request_is_answered_even_while_no_worker_is_free():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers)
        (busy,) = start(made, request(1))
        await turns()
        (late,) = start(made, request(2, deadline=asyncio.get_running_loop().time() + 3))
        with pytest.raises(DeadlineExpired):
            await late
        workers.finish()
        assert (await busy).outputs[0].tolist() == [[2]]
        assert made.idle

    run(main())


@pytest.mark.parametrize(
    "queue", [QueuePlan(), QueuePlan(priority_levels=2), QueuePlan(default_timeout_s=60.0)]
)
def test_a_requests_own_timeout_is_ignored_unless_it_is_allowed(queue):
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers, queue=queue)
        start(made, request(1))
        await turns()
        (waiting,) = start(made, request(2, timeout_s=30e-6))
        await asyncio.sleep(9)
        assert not waiting.done()
        workers.finish()
        await turns()
        workers.finish()
        assert (await waiting).outputs[0].tolist() == [[4]]

    run(main())


def test_a_requests_own_timeout_counts_while_it_waits_where_it_is_allowed():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers, queue=QueuePlan(allow_timeout_override=True))
        start(made, request(1))
        await turns()
        began = asyncio.get_running_loop().time()
        (late,) = start(made, request(2, timeout_s=0.5))
        with pytest.raises(DeadlineExpired):
            await late
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)

    run(main())


def test_a_full_queue_refuses_at_once():
    async def main():
        made = batcher(PuppetWorkers(0), queue=QueuePlan(max_requests=2))
        tasks = start(made, request(1), request(2), request(3))
        await turns()
        assert isinstance(tasks[2].exception(), Overloaded)
        assert "Exceeds maximum queue size" in str(tasks[2].exception())
        tasks[0].cancel()
        await turns()
        more = start(made, request(4))
        await turns()
        assert not more[0].done()

    run(main())


def test_bytes_are_bounded_too_but_a_lone_request_is_let_in():
    async def main():
        made = batcher(PuppetWorkers(0), queue=QueuePlan(max_bytes=10))
        tasks = start(made, request(1, 8), request(2))
        await turns()
        assert not tasks[0].done()
        assert isinstance(tasks[1].exception(), Overloaded)

    run(main())


def test_a_batch_waits_for_company_as_long_as_configured():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model, max_queue_delay_s=0.010)
        loop = asyncio.get_running_loop()
        began = loop.time()
        tasks = start(made, request(1))
        await asyncio.sleep(0.004)
        tasks += start(made, request(2))
        while not workers.running:
            await asyncio.sleep(0.001)
        assert loop.time() - began == pytest.approx(0.010, abs=0.0011)
        workers.finish()
        await asyncio.gather(*tasks)
        assert model.batches == [[1, 2]]

    run(main())


def test_a_full_batch_does_not_wait_for_the_delay():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model, max_queue_delay_s=5.0, useful_batch_size=2)
        tasks = start(made, request(1))
        await turns()
        tasks += start(made, request(2))
        await turns()
        assert len(workers.running) == 1
        workers.finish()
        await asyncio.gather(*tasks)

    run(main())


def test_padding_adds_rows_that_nobody_sees():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model, pad_to=(4, 8))
        tasks = start(made, request(1), request(2, 2))
        await turns()
        workers.finish()
        await asyncio.gather(*tasks)
        assert model.batches == [[1, 2, 2, 2]]
        assert values(tasks) == [[2], [4, 4]]

    run(main())


def test_a_cheap_batch_runs_on_the_loop_without_a_worker():
    async def main():
        model = Doubler()
        made = batcher(PuppetWorkers(0), runner=model, loop_batch_size=8)
        tasks = start(made, request(1), request(2))
        await asyncio.gather(*tasks)
        assert model.batches == [[1, 2]]

    run(main())


def test_a_batch_of_no_rows_is_not_taken_for_a_small_one():
    """No trial run says what it costs, and a graph may work without rows: it goes to a worker."""

    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model, loop_batch_size=8)
        tasks = start(made, request(1, 0))
        await turns()
        assert model.batches == []
        workers.finish()
        assert (await tasks[0]).outputs[0].shape == (0, 1)
        assert made.idle

    run(main())


def test_versions_without_a_batch_axis_run_each_request_alone_on_their_instances():
    async def main():
        workers = PuppetWorkers(5)
        model = Doubler()
        made = batcher(workers, runner=model, max_batch_size=0, useful_batch_size=0, instances=2)
        tasks = start(made, request(1), request(2), request(3))
        await turns()
        assert len(workers.running) == 2
        while workers.running:
            workers.finish()
            await turns()
        assert values(tasks) == [[2], [4], [6]]

    run(main())


def test_one_requests_values_fail_nobody_else():
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        made = batcher(workers, runner=model)
        tasks = start(made, request(1), request(-2), request(3), request(-4))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [a.outputs[0].tolist() for a in (answers[0], answers[2])] == [[[2]], [[6]]]
        assert all(isinstance(answers[n], ModelFailed) for n in (1, 3))
        assert answers[1] is not answers[3]
        assert model.batches[0] == [1, -2, 3, -4]
        assert model.batches[1:] == [[1, -2], [3, -4], [1], [-2], [3], [-4]]
        assert made.idle

    run(main())


def test_a_caller_may_leave_while_a_failed_batch_is_told_apart():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers)
        tasks = start(made, request(-1), request(2), request(3))
        await turns()
        workers.finish()
        tasks[1].cancel()
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert tasks[1].cancelled()
        assert values([tasks[2]]) == [[6]]
        assert isinstance(tasks[0].exception(), ModelFailed)
        assert made.idle
        assert made._batch_queue.bytes == 0

    run(main())


class Burner(Doubler):
    """A model that takes its time on large values."""

    def run(self, feed, wanted, rows):
        if (feed["x"] > 100).any():
            until = time.thread_time_ns() + int(feed["x"].max() * 1000)
            while time.thread_time_ns() < until:
                pass
        return super().run(feed, wanted, rows)


@pytest.mark.parametrize("long_us", [[20_000], [900] * 8])
def test_a_version_that_holds_the_loop_goes_to_threads_for_good(long_us):
    """One run that is far too long is enough, and so are several between short ones."""

    async def main():
        workers = PuppetWorkers()
        made = batcher(workers, runner=Burner(), loop_batch_size=8)
        for us in long_us:
            await asyncio.gather(*start(made, request(us)))
            if not made._puller.loop_time.rows:
                break
            await asyncio.gather(*start(made, request(1)))
        tasks = start(made, request(2))
        await turns()
        assert len(workers.running) == 1
        workers.finish()
        await asyncio.gather(*tasks)

    run(main())


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("come"), st.integers(1, 3), st.sampled_from([None, 0.5, 2.0]), st.integers(0, 2)
        ),
        st.tuples(st.just("leave"), st.integers(0, 30), st.none(), st.none()),
        st.tuples(st.just("finish"), st.none(), st.none(), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 3.0]), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.sampled_from([0, 4]), st.sampled_from([0.0, 0.3]), st.sampled_from([0, 2]))
def test_whoever_leaves_whenever_every_other_caller_is_answered_exactly_once(
    events, useful, delay, loop_rows
):
    """Callers cancel, expire or stay, in any order.

    Each of them ends once, with its own answer, and nothing is left.
    """

    async def main():
        workers = PuppetWorkers()
        batching = {
            "max_batch_size": 4,
            "useful_batch_size": useful or 4,
            "max_queue_delay_s": delay,
            "loop_batch_size": loop_rows,
        }
        made = batcher(workers, queue=QueuePlan(priority_levels=2), **batching)
        loop = asyncio.get_running_loop()
        tasks = []
        for kind, a, b, c in events:
            if kind == "come":
                n = len(tasks) + 1
                deadline = math.inf if b is None else loop.time() + b
                value = -n if n % 7 == 0 else n  # every seventh fails
                tasks += start(
                    made, request(value, a, deadline=deadline, priority=c, width=1 + n % 2)
                )
            elif kind == "leave" and tasks:
                tasks[a % len(tasks)].cancel()
            elif kind == "finish" and workers.running:
                workers.finish()
            elif kind == "wait":
                await asyncio.sleep(a)
            await turns(2)
        for _ in range(10 * len(tasks) + 20):
            if workers.running:
                workers.finish()
            await asyncio.sleep(0.4)
        for n, task in enumerate(tasks, 1):
            assert task.done()
            if not task.cancelled() and task.exception() is None:
                output = task.result().outputs[0]
                assert (output == 2 * n).all()
            elif not task.cancelled():
                assert isinstance(
                    task.exception(),
                    (DeadlineExpired, ModelFailed) if n % 7 == 0 else DeadlineExpired,
                )
        assert made.idle
        assert made._batch_queue.bytes == 0
        assert made._batch_queue.rows == 0
        assert not made._batch_queue._lines or all(
            e.settled for line in made._batch_queue._lines.values() for e in line.entries
        )

    run(main())


def test_callers_that_vanish_while_no_worker_is_free_leave_no_memory_behind():
    async def main():
        made = batcher(PuppetWorkers(0))
        for _ in range(20):
            tasks = start(made, *(request(i) for i in range(200)))
            await turns()
            for task in tasks:
                task.cancel()
            await turns()
        assert made.idle
        assert sum(len(line.entries) for line in made._batch_queue._lines.values()) <= 64

    run(main())


def test_a_request_that_is_split_counts_once_and_its_rows_all():
    async def main():
        workers = PuppetWorkers()
        counts = Counts()
        made = batcher(workers, counts=counts)
        tasks = start(Splitter(made, 8), request(1, 20), request(2), request(3, 16))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert values(tasks) == [[2] * 20, [4], [6] * 16]
        assert (counts.requests, counts.rows) == (3, 37)

    run(main())
