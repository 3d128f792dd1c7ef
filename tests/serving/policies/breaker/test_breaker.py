"""The predictor in front of a circuit breaker.

It lets requests through or refuses them, and a refusal is cheap.
"""

import asyncio
import inspect

import pytest

from gateway.core.errors import CircuitBreakerOpen, ModelFailed
from gateway.core.predictor import Description
from gateway.core.protection import BreakerPlan
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.serving.policies.breaker.breaker import BreakerPolicy
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker, Outcome
from tests.support.breaker_parts import Clock, Transitions, fail, succeed

ANSWER = Prediction(())


def request():
    form = RequestForm(names=(), key=(), rows=1, input_bytes=0, outputs=(), parameters={})
    return InferenceRequest(form, (), arrived=0.0)


class Inside:
    """A predictor that answers when it is let; a test may make it fail."""

    def __init__(self):
        self.asked = 0
        self.gate = asyncio.Event()
        self.error = None

    async def predict(self, _):
        self.asked += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return ANSWER

    def describe(self):
        return Description("inside")


def parts(**plan):
    clock = Clock()
    inside = Inside()
    breaker = CircuitBreaker("m 1", BreakerPlan(**plan), clock, Transitions())
    return BreakerPolicy(inside, breaker, "model 'm' version 1"), breaker, inside, clock


async def started(count, policy):
    tasks = [asyncio.ensure_future(policy.predict(request())) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_a_closed_circuit_adds_no_coroutine():
    policy, _, inside, _ = parts()
    coroutine = policy.predict(request())
    try:
        assert coroutine.cr_code is inside.predict.__code__
        assert not inspect.iscoroutinefunction(policy.predict)
    finally:
        coroutine.close()


def test_an_answer_passes_unchanged():
    async def main():
        policy, _, inside, _ = parts()
        inside.gate.set()
        assert await policy.predict(request()) is ANSWER

    asyncio.run(main())


def test_an_open_circuit_refuses_and_says_whom_why_and_when():
    async def main():
        policy, breaker, inside, clock = parts(consecutive_failures=2, reset_timeout_s=5)
        fail(breaker, 2)
        clock.at += 1.8
        with pytest.raises(CircuitBreakerOpen) as refused:
            await policy.predict(request())
        assert str(refused.value) == (
            "circuit breaker for model 'm' version 1 is open: 2 consecutive batches failed"
            "; last error: no memory; retrying in 3.2 s"
        )
        assert inside.asked == 0

    asyncio.run(main())


def test_a_forced_open_circuit_says_that_an_operator_did_it():
    async def main():
        policy, breaker, _, _ = parts()
        breaker.force("open")
        with pytest.raises(
            CircuitBreakerOpen, match=r"an operator forced it open; until an operator changes that$"
        ):
            await policy.predict(request())

    asyncio.run(main())


def test_of_a_thousand_concurrent_requests_one_probes_and_the_rest_is_refused():
    async def main():
        policy, breaker, inside, clock = parts(consecutive_failures=1, reset_timeout_s=5)
        fail(breaker)
        for expected in (1, 2, 3):  # in each reset interval
            clock.at += 5
            tasks = await started(1000, policy)
            assert inside.asked == expected
            refusals = [task.exception() for task in tasks if task.done()]
            assert len(refusals) == 999
            assert all(isinstance(error, CircuitBreakerOpen) for error in refusals)
            assert "no memory; a probe request is under way" in str(refusals[0])
            fail(breaker)  # the batch that the probe was in
            inside.error = ModelFailed("no memory")
            inside.gate.set()
            with pytest.raises(ModelFailed):
                await next(task for task in tasks if not task.done())
            inside.gate.clear()
            assert breaker.state == "open"

    asyncio.run(main())


def test_a_probe_that_is_answered_lets_everybody_through_again():
    async def main():
        policy, breaker, inside, clock = parts(consecutive_failures=1, reset_timeout_s=5)
        fail(breaker)
        clock.at += 5
        (probe,) = await started(1, policy)
        succeed(breaker)
        inside.gate.set()
        assert await probe is ANSWER
        assert breaker.closed
        assert await asyncio.gather(*await started(10, policy)) == [ANSWER] * 10

    asyncio.run(main())


def test_a_cancelled_probe_neither_closes_nor_opens_and_the_next_request_probes():
    async def main():
        policy, breaker, inside, clock = parts(consecutive_failures=1, reset_timeout_s=5)
        fail(breaker)
        clock.at += 5
        (probe,) = await started(1, policy)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert breaker.state == "half-open"
        (second,) = await started(1, policy)
        assert inside.asked == 2
        second.cancel()

    asyncio.run(main())


def test_a_probe_that_is_answered_before_its_batch_is_reported_still_counts():
    async def main():
        policy, breaker, inside, clock = parts(consecutive_failures=1, reset_timeout_s=5)
        fail(breaker)
        clock.at += 5
        (probe,) = await started(1, policy)
        generation = breaker.begin()
        inside.gate.set()
        assert await probe is ANSWER
        assert breaker.admit() is None
        breaker.end(generation, Outcome.SUCCESS, 0.1, None)
        assert breaker.closed

    asyncio.run(main())


def test_a_waiting_probe_holds_nobody_up():
    async def main():
        policy, breaker, _, clock = parts(consecutive_failures=1, reset_timeout_s=5)
        fail(breaker)
        clock.at += 5
        (probe,) = await started(1, policy)
        # from a thread that would wait for a lock
        assert await asyncio.wait_for(asyncio.to_thread(breaker.snapshot), 5)
        await asyncio.wait_for(
            asyncio.to_thread(breaker.end, breaker.begin(), Outcome.SUCCESS, 0.1, None), 5
        )
        assert breaker.closed
        probe.cancel()

    asyncio.run(main())


def test_describe_shows_the_state_and_the_inside():
    async def main():
        policy, breaker, _, _ = parts()
        assert policy.describe().lines() == ["Breaker  closed", "  inside"]
        breaker.force("open")
        assert policy.describe().lines()[0] == "Breaker  open (forced)"

    asyncio.run(main())
