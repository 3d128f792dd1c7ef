"""While no instance is left that could run a request, it is refused before it waits."""

import asyncio
import inspect

import pytest

from gateway.core.errors import CircuitBreakerOpen, Unavailable
from gateway.serving.policies.breaker.reachable import Reachable
from tests.support.fallback_parts import ByHand, Inside, request, version_plan

PLAN = version_plan()


class Instances:
    """Instances that report why none is left; empty: one is."""

    def __init__(self):
        self.why = ""

    def unreachable(self):
        return self.why


def reachable():
    inside = Inside()
    instances = Instances()
    return Reachable(inside, instances.unreachable, "'m' version 1"), inside, instances


def test_where_somebody_is_left_the_inside_answers():
    async def main():
        made, inside, _ = reachable()
        asked = request(PLAN, rows=2)
        assert (await made.predict(asked)).outputs[0].shape == (2, 2)
        assert inside.asked == [asked]

    asyncio.run(main())


def test_where_nobody_is_left_the_request_is_refused_with_the_reason_and_asks_nobody():
    made, inside, instances = reachable()
    instances.why = "worker 1 is down"
    with pytest.raises(
        CircuitBreakerOpen, match="no instance can run 'm' version 1: worker 1 is down"
    ):
        made.predict(request(PLAN))
    assert inside.asked == []


def test_the_refusal_is_one_that_a_fallback_for_what_is_unavailable_answers():
    assert issubclass(CircuitBreakerOpen, Unavailable)


def test_it_is_asked_anew_at_every_request():
    async def main():
        made, _, instances = reachable()
        instances.why = "all are down"
        for _ in range(2):
            with pytest.raises(CircuitBreakerOpen):
                await made.predict(request(PLAN))
        instances.why = ""
        assert (await made.predict(request(PLAN))).outputs

    asyncio.run(main())


def test_each_refusal_is_an_error_of_its_own():
    made, _, instances = reachable()
    instances.why = "all are down"
    errors = []
    for _ in range(2):
        with pytest.raises(CircuitBreakerOpen) as caught:
            made.predict(request(PLAN))
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_a_refusal_is_met_where_the_request_is_awaited():
    async def main():
        made, _, instances = reachable()
        instances.why = "all are down"

        async def around(asked):
            return await made.predict(asked)

        with pytest.raises(CircuitBreakerOpen):
            await ByHand(around(request(PLAN))).outcome()
        with pytest.raises(CircuitBreakerOpen):
            await asyncio.create_task(around(request(PLAN)))

    asyncio.run(main())


def test_what_it_hands_out_is_the_insides_own_coroutine():
    made, inside, _ = reachable()
    coroutine = made.predict(request(PLAN))
    assert inspect.iscoroutine(coroutine)
    assert coroutine.cr_code is Inside.predict.__code__
    coroutine.close()
    assert inside.asked == []


def test_it_describes_itself_around_the_inside():
    made, _, instances = reachable()
    assert [line.split()[0] for line in made.describe().lines()] == ["Reachable", "Inside"]
    assert "yes" in repr(made)
    instances.why = "all are down"
    assert "all are down" in repr(made)
