"""Room is taken and given back, by requests and by bytes, whatever becomes of those inside."""

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ModelFailed, Overloaded
from gateway.core.predictor import Description
from gateway.core.waiter import Waiter
from gateway.serving.policies.admission.admission import Admission, Room, share
from tests.support.fallback_parts import Inside, request, version_plan

PLAN = version_plan()  # a row is 8 bytes


class Held:
    """A Predictor that answers when the test says so."""

    def __init__(self):
        self.asked = []

    async def predict(self, asked):
        self.asked.append(Waiter())
        return await self.asked[-1]

    def describe(self):
        return Description("Held")


async def inside(made, *requests):
    tasks = [asyncio.ensure_future(made.predict(asked)) for asked in requests]
    await asyncio.sleep(0)
    return tasks


def test_one_more_than_there_is_room_for_is_refused_at_once_and_does_not_come_in():
    async def main():
        held = Held()
        room = Room("'m' version 1", 2, 0)
        tasks = await inside(Admission(held, room), *(request(PLAN) for _ in range(3)))
        with pytest.raises(
            Overloaded,
            match=r"'m' version 1 has no room: 2 requests \(16 bytes of input\) are in "
            r"flight, 2 requests and any",
        ):
            tasks[2].result()
        assert len(held.asked) == 2
        assert (room.requests, room.bytes) == (2, 16)

    asyncio.run(main())


@pytest.mark.parametrize("end", ["answered", "failed", "cancelled"])
def test_whoever_leaves_in_whatever_way_gives_its_place_back(end):
    async def main():
        held = Held()
        room = Room("all", 1, 0)
        made = Admission(held, room)
        (task,) = await inside(made, request(PLAN, rows=3))
        if end == "answered":
            held.asked[0].settle("the answer")
        elif end == "failed":
            held.asked[0].fail(ModelFailed("no"))
        else:
            task.cancel()
        await asyncio.wait([task])
        assert (room.requests, room.bytes) == (0, 0)
        (again,) = await inside(made, request(PLAN))
        assert not again.done()

    asyncio.run(main())


def test_who_was_refused_gives_nothing_back():
    async def main():
        room = Room("all", 1, 0)
        made = Admission(Held(), room)
        _, refused = await inside(made, request(PLAN), request(PLAN))
        assert isinstance(refused.exception(), Overloaded)
        assert (room.requests, room.bytes) == (1, 8)

    asyncio.run(main())


def test_bytes_are_bounded_too():
    room = Room("all", 0, 100)
    room.enter(60)
    with pytest.raises(Overloaded, match="any number of requests and 100 bytes may be"):
        room.enter(41)
    room.enter(40)


def test_a_lone_request_is_let_in_whatever_its_size_and_then_nobody_else():
    room = Room("all", 0, 100)
    room.enter(10_000)
    with pytest.raises(Overloaded):
        room.enter(1)
    room.leave(10_000)
    room.enter(100)


def test_where_there_is_no_bound_everybody_is_let_in():
    room = Room("all", 0, 0)
    for _ in range(10_000):
        room.enter(1 << 30)
    assert not room.bounded
    assert Room("all", 1, 0).bounded
    assert Room("all", 0, 1).bounded


def test_a_room_is_shared_by_all_that_lead_to_it():
    async def main():
        room = Room("all", 1, 0)
        one = Admission(Held(), room)
        other = Admission(Held(), room)
        await inside(one, request(PLAN))
        (refused,) = await inside(other, request(PLAN))
        assert isinstance(refused.exception(), Overloaded)

    asyncio.run(main())


def test_an_admission_describes_its_room_and_what_is_inside():
    lines = Admission(Inside(), Room("'m'", 3, 0)).describe().lines()
    assert lines == ["Admission  Room 'm': 0 of 3 requests, 0 of any bytes", "  Inside"]


@given(
    st.integers(0, 4),
    st.integers(0, 50),
    st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60),
)
def test_a_room_never_holds_more_than_it_may_but_for_one_alone(max_requests, max_bytes, steps):
    room = Room("all", max_requests, max_bytes)
    sizes = []
    for comes, size in steps:
        if comes:
            fits = (not max_requests or len(sizes) < max_requests) and (
                not max_bytes or not sizes or sum(sizes) + size <= max_bytes
            )
            if fits:
                room.enter(size)
                sizes.append(size)
            else:
                with pytest.raises(Overloaded):
                    room.enter(size)
        elif sizes:
            room.leave(sizes.pop())
        assert (room.requests, room.bytes) == (len(sizes), sum(sizes))
        assert not max_requests or room.requests <= max_requests
        assert (
            not max_bytes
            or room.bytes <= max_bytes
            or room.requests == 1
            or sizes.count(0) >= room.requests - 1
        )


@given(st.integers(0, 1 << 40), st.integers(1, 512))
def test_the_shares_of_all_processes_are_the_bound_and_less_than_one_each_besides(bound, processes):
    part = share(bound, processes)
    assert isinstance(part, int)
    assert bound <= part * processes < bound + processes


@given(st.floats(0, 1e9), st.integers(1, 512))
def test_a_bound_that_is_no_whole_number_is_rounded_up(bound, processes):
    part = share(bound, processes)
    assert part * processes >= Fraction(bound) * (1 - Fraction(1, 10**12))
    assert (part == 0) == (bound == 0)
