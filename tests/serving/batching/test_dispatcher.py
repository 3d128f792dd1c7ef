"""What becomes of a batch that fails.

Bisection finds the guilty request, lost instances are made up for, and breakers hear of it once.
"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import (
    CircuitBreakerOpen,
    DeadlineExpired,
    GatewayError,
    InstanceFailed,
    ModelFailed,
)
from gateway.core.outcome import Outcome
from gateway.core.protection import ProtectionPlan, RetryPlan
from gateway.records.batch_counter import BatchCounter
from gateway.serving.batching.batcher import Batcher
from gateway.serving.policies.retry_budget import RetryBudget
from gateway.serving.runtime.instance_pool import InstancePool
from gateway.serving.runtime.threads.thread_lanes import ThreadSlots
from tests.support.batcher_parts import (
    Counts,
    Doubler,
    PuppetWorkers,
    batcher,
    plan,
    request,
    run,
    start,
    turns,
    values,
)


class OutcomeListener:
    """Keeps the outcomes that it gets, of a version's batches or of an instance's."""

    def __init__(self):
        self.told = []
        self.generation = 7

    def batch_started(self, batch):
        batch.generation = self.generation

    def batch_finished(self, batch):
        if batch.outcome is not None:
            self.end(batch.generation, batch.outcome, batch.elapsed_s, batch.error)

    def begin(self):
        return self.generation

    def end(self, generation, outcome, elapsed_s, error):
        assert generation == 7
        assert elapsed_s >= 0
        self.told.append((outcome, str(error or "")))


class OpenGate(OutcomeListener):
    """A breaker that lets everything through."""

    admits = True
    retry_in_s = 0.0

    def admit(self):
        return self

    def release(self, ticket):
        assert ticket is self


class PuppetInstance:
    """An instance that answers, or fails, when the test says so."""

    expected_s = 0.0

    def __init__(self, name, capacity=1):
        self.name = name
        self.capacity = capacity
        self.available = True
        self.model = Doubler()
        self.running = []
        self.changed = None

    def watch(self, changed):
        self.changed = changed

    def set_available(self, available):
        self.available = available
        self.changed()

    def run(self, work, done):
        self.running.append((work, done))

    def end(self, error=None):
        work, done = self.running.pop(0)
        if error is not None:
            work.fail(error)
        else:
            try:
                work.finish(self.model.run(work.collate(), work.wanted, work.rows))
            except ModelFailed as failed:
                work.fail(failed)
        done()


def on_instances(*instances, outcomes=None, gates=None, **options):
    made = plan(**options)
    gates = gates or [OpenGate() for _ in instances]
    pool = InstancePool(list(zip(instances, gates, strict=True)), asyncio.get_running_loop().time)
    retries = RetryBudget(made.protection.retry, asyncio.get_running_loop().time)
    listeners = (BatchCounter(Counts()), *([outcomes] if outcomes else ()), retries)
    return Batcher(made, pool, listeners=listeners, retries=retries)


LOST = InstanceFailed("worker 1 died")


def with_ears(workers, model, outcomes, **options):
    made = plan(**options)
    return Batcher(
        made,
        ThreadSlots(model, workers, 1),
        listeners=(BatchCounter(Counts()), outcomes),
        retries=RetryBudget(made.protection.retry, lambda: 0.0),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 30).filter(bool), min_size=2, max_size=8))
def test_of_a_failed_batch_exactly_the_guilty_fail_and_few_runs_find_them(numbers):
    async def main():
        workers = PuppetWorkers()
        model = Doubler()
        outcomes = OutcomeListener()
        made = with_ears(workers, model, outcomes)
        tasks = start(made, *(request(n) for n in numbers))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in zip(numbers, answers, strict=True):
            assert (
                isinstance(answer, ModelFailed)
                if n < 0
                else answer.outputs[0].tolist() == [[2 * n]]
            )
        guilty = sum(n < 0 for n in numbers)
        # halves of 8: three steps down, two runs each
        assert len(model.batches) <= 1 + guilty * 2 * 3
        assert [outcome for outcome, _ in outcomes.told] == [
            Outcome.FAILURE if guilty == len(numbers) else Outcome.SUCCESS
        ]

    run(main())


def test_a_request_that_fails_alone_is_a_failure_with_its_own_message():
    async def main():
        workers = PuppetWorkers()
        outcomes = OutcomeListener()
        (task,) = start(with_ears(workers, Doubler(), outcomes), request(-1))
        await turns()
        workers.finish()
        await turns()
        assert str(task.exception()) == "negative"
        assert outcomes.told == [(Outcome.FAILURE, "negative")]

    run(main())


def test_a_batch_whose_instance_is_lost_is_run_again_in_halves_on_another():
    async def main():
        one = PuppetInstance("one")
        two = PuppetInstance("two", 2)
        outcomes = OutcomeListener()
        made = on_instances(one, two, outcomes=outcomes)
        tasks = start(made, request(1), request(2), request(3))
        await turns()
        one.end(LOST)
        await turns()
        assert not one.running
        two.end()
        two.end()
        await turns()
        assert values(tasks) == [[2], [4], [6]]
        assert two.model.batches == [[1, 2], [3]]
        assert outcomes.told == [(Outcome.SUCCESS, "")]
        assert made.idle

    run(main())


def test_the_only_instance_is_waited_for_while_it_is_replaced():
    async def main():
        lone = PuppetInstance("lone")
        tasks = start(on_instances(lone), request(1))
        await turns()
        lone.available = False
        lone.end(LOST)
        await turns()
        assert not lone.running
        lone.set_available(True)
        await turns()
        lone.end()
        await turns()
        assert values(tasks) == [[2]]

    run(main())


def test_a_lost_batch_is_run_again_once_and_then_fails_with_the_last_word():
    async def main():
        lone = PuppetInstance("lone")
        outcomes = OutcomeListener()
        tasks = start(on_instances(lone, outcomes=outcomes), request(1), request(2))
        await turns()
        lone.end(LOST)
        await turns()
        lone.end(InstanceFailed("died again"))
        await turns()
        lone.end()
        await turns()
        assert [type(task.exception()) for task in tasks] == [InstanceFailed, type(None)]
        assert outcomes.told == [(Outcome.SUCCESS, "")]

    run(main())


def test_nothing_is_repeated_where_one_attempt_is_configured():
    async def main():
        lone = PuppetInstance("lone")
        outcomes = OutcomeListener()
        tasks = start(
            on_instances(
                lone, outcomes=outcomes, protection=ProtectionPlan(retry=RetryPlan(attempts=1))
            ),
            request(1),
            request(2),
        )
        await turns()
        lone.end(LOST)
        await turns()
        assert [str(task.exception()) for task in tasks] == ["worker 1 died"] * 2
        assert tasks[0].exception() is not tasks[1].exception()
        assert outcomes.told == [(Outcome.FAILURE, "worker 1 died")]

    run(main())


def test_a_repeated_run_stays_inside_the_deadline():
    async def main():
        lone = PuppetInstance("lone")
        loop = asyncio.get_running_loop()
        (task,) = start(on_instances(lone), request(1, deadline=loop.time() + 2))
        await turns()
        lone.available = False
        lone.end(LOST)
        with pytest.raises(DeadlineExpired):
            await task

    run(main())


def test_a_batch_that_was_not_given_the_time_teaches_nothing():
    async def main():
        lone = PuppetInstance("lone")
        outcomes = OutcomeListener()
        tasks = start(on_instances(lone, outcomes=outcomes), request(1), request(2))
        await turns()
        lone.end(DeadlineExpired("too late"))
        await turns()
        assert [type(task.exception()) for task in tasks] == [DeadlineExpired] * 2
        assert outcomes.told == [(Outcome.NEUTRAL, "too late")]

    run(main())


def test_a_failed_batch_that_nobody_waits_for_any_more_teaches_nothing():
    async def main():
        workers = PuppetWorkers()
        outcomes = OutcomeListener()
        made = with_ears(workers, Doubler(), outcomes)
        tasks = start(made, request(-1), request(2))
        await turns()
        for task in tasks:
            task.cancel()
        await turns()
        workers.finish()
        await turns()
        assert outcomes.told == []
        assert made.idle

    run(main())


class Raiser:
    """A listener that is broken."""

    def batch_started(self, batch):
        raise RuntimeError("no beginning")

    def batch_finished(self, batch):
        raise RuntimeError("no end")


@pytest.mark.parametrize("loop_rows", [0, 8])
def test_a_listener_that_raises_keeps_nobody_from_an_answer_and_no_other_from_listening(
    loop_rows, caplog
):
    async def main():
        workers = PuppetWorkers()
        outcomes = OutcomeListener()
        model = Doubler()
        made_plan = plan(loop_batch_size=loop_rows)
        made = Batcher(
            made_plan,
            ThreadSlots(model, workers, 1),
            listeners=(Raiser(), outcomes),
            retries=RetryBudget(made_plan.protection.retry, lambda: 0.0),
            runner=model,
        )
        tasks = start(made, request(1), request(2))
        await turns()
        if workers.running:
            workers.finish()
        assert values(await done(tasks)) == [[2], [4]]
        assert outcomes.told == [(Outcome.SUCCESS, "")]
        assert made.idle

    run(main())
    assert caplog.text.count("This is a bug.") == 2


async def done(tasks):
    await asyncio.wait_for(asyncio.wait(tasks), 10)
    return tasks


def test_inputs_that_cannot_be_joined_fail_who_brought_them():
    async def main():
        workers = PuppetWorkers()
        bad = request(1)
        bad.inputs = ("no array",)
        tasks = start(batcher(workers), bad, request(2))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert isinstance((await done(tasks))[0].exception(), ModelFailed)
        assert values(tasks[1:]) == [[4]]

    run(main())


class BrokenInstance(PuppetInstance):
    """An instance that raises instead of failing a work, before or after it has ended it."""

    def __init__(self, name, ends_it):
        super().__init__(name)
        self.ends_it = ends_it

    def run(self, work, done):
        super().run(work, done)
        if self.ends_it:
            self.end()
        raise RuntimeError("it broke")


def test_an_instance_that_raises_has_failed_and_gives_its_place_back(caplog):
    async def main():
        gate = OpenGate()
        made = on_instances(BrokenInstance("bad", ends_it=False), gates=[gate])
        for _ in range(2):
            (task,) = await done(start(made, request(1)))
            assert isinstance(task.exception(), InstanceFailed)
            assert "bad raised RuntimeError: it broke" in str(task.exception())
        assert {outcome for outcome, _ in gate.told} == {Outcome.FAILURE}
        assert made.idle

    run(main())
    assert "bad raised instead of failing a batch. This is a bug." in caplog.text


def test_an_instance_that_raises_after_it_has_answered_has_answered():
    async def main():
        gate = OpenGate()
        made = on_instances(BrokenInstance("bad", ends_it=True), gates=[gate])
        assert values(await done(start(made, request(1), request(2)))) == [[2], [4]]
        assert [outcome for outcome, _ in gate.told] == [Outcome.SUCCESS]
        assert made.idle

    run(main())


def test_a_run_that_ends_with_neither_outputs_nor_an_error_has_failed():
    async def main():
        lone = PuppetInstance("lone")
        (task,) = start(on_instances(lone), request(1))
        await turns()
        _, over = lone.running.pop()
        over()
        (task,) = await done([task])
        assert "ended with neither outputs nor an error" in str(task.exception())

    run(main())


class BrokenSlots(ThreadSlots):
    """Slots of threads that cannot be given a batch, or cannot even be asked for room."""

    def __init__(self, workers, broken):
        super().__init__(Doubler(), workers, 1)
        self.broken = broken

    def acquire(self, ready):
        if self.broken == "acquire":
            raise RuntimeError("broken")
        return super().acquire(ready)

    def run(self, work, over):
        raise RuntimeError("broken")


@pytest.mark.parametrize("broken", ["acquire", "run"])
def test_whoever_is_taken_is_failed_where_it_cannot_be_run_and_the_place_is_given_back(broken):
    async def main():
        made_plan = plan()
        workers = PuppetWorkers()
        made = Batcher(
            made_plan,
            BrokenSlots(workers, broken),
            listeners=(),
            retries=RetryBudget(made_plan.protection.retry, lambda: 0.0),
        )
        for _ in range(2):
            tasks = await done(start(made, request(1), request(2)))
            assert [type(task.exception()) for task in tasks] == [GatewayError] * 2
            assert tasks[0].exception() is not tasks[1].exception()
        assert made.idle
        assert workers.free == 1

    run(main())


def test_a_queue_that_raises_leaves_nobody_waiting_and_no_place_taken():
    async def main():
        workers = PuppetWorkers()
        made = batcher(workers)
        made._batch_queue._delay_s = "broken"
        (task,) = await done(start(made, request(1)))
        assert type(task.exception()) is GatewayError
        assert made.idle
        assert workers.free == 1
        made._batch_queue._delay_s = 0.0
        (task,) = start(made, request(2))
        await turns()
        workers.finish()
        assert values(await done([task])) == [[4]]

    run(main())


class TestPool:
    def test_the_instance_with_the_least_to_do_is_asked_and_slow_ones_less(self):
        async def main():
            quick = PuppetInstance("quick", 8)
            slow = PuppetInstance("slow", 8)
            made = on_instances(quick, slow, max_batch_size=0, useful_batch_size=0)
            loop = asyncio.get_running_loop()
            learning = start(made, request(1), request(2))
            await turns()
            loop.skip(0.010)
            quick.end()
            loop.skip(0.030)
            slow.end()
            await asyncio.gather(*learning)
            start(made, *(request(n) for n in range(3, 11)))
            await turns()
            assert (len(quick.running), len(slow.running)) == (7, 1)

        run(main())

    def test_an_instance_whose_breaker_is_open_is_skipped_and_tried_when_its_time_has_come(self):
        async def main():
            gate = OpenGate()
            gate.admits = False
            gate.retry_in_s = 3.0
            shunned = PuppetInstance("shunned")
            busy = PuppetInstance("busy")
            made = on_instances(
                shunned, busy, gates=[gate, OpenGate()], max_batch_size=0, useful_batch_size=0
            )
            start(made, request(1), request(2))
            await turns()
            assert (len(shunned.running), len(busy.running)) == (0, 1)
            gate.admits = True
            start(made, request(3))
            await turns()
            assert (len(shunned.running), len(busy.running)) == (1, 1)

        run(main())

    def test_an_instance_hears_of_its_own_losses_but_not_of_one_requests_values(self):
        async def main():
            gate = OpenGate()
            lone = PuppetInstance("lone")
            tasks = start(on_instances(lone, gates=[gate]), request(-1), request(2))
            await turns()
            while lone.running:
                lone.end()
                await turns()
            start(on_instances(lone, gates=[gate]), request(3))
            await turns()
            lone.end(LOST)
            assert [outcome for outcome, _ in gate.told] == [
                Outcome.NEUTRAL,
                Outcome.FAILURE,
                Outcome.SUCCESS,
                Outcome.FAILURE,
            ]
            assert values(tasks[1:]) == [[4]]

        run(main())

    def test_a_place_that_is_not_used_is_given_back(self):
        async def main():
            pool = InstancePool(
                [(PuppetInstance("lone"), OpenGate())], asyncio.get_running_loop().time
            )
            slot = pool.acquire(lambda: None)
            assert pool.acquire(lambda: None) is None
            pool.release(slot)
            assert pool.acquire(lambda: None) is slot

        run(main())


def test_threads_are_shared_by_versions_in_turn():
    async def main():
        workers = PuppetWorkers(1)
        one = batcher(workers)
        two = batcher(workers)
        tasks = start(one, request(1)) + start(two, request(2))
        await turns()
        tasks += start(one, request(3))
        await turns()
        while workers.running:
            workers.finish()
            await turns()
        assert values(tasks) == [[2], [4], [6]]

    run(main())


def test_who_waits_for_instances_that_do_not_come_back_is_told_so_without_a_deadline_of_his_own():
    async def main():
        lone = PuppetInstance("lone")
        (task,) = start(on_instances(lone), request(1))
        await turns()
        lone.set_available(False)
        lone.end(LOST)
        with pytest.raises(
            CircuitBreakerOpen, match="no instance can run 'm' version 1: lone is down"
        ):
            await asyncio.wait_for(task, 10)

    run(main())
