"""Health as a state that is looked up and watched."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ipc.messages import Publish
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.wire.health_status import Health, Status
from gateway.serving.wire.server_state import ServerState
from tests.support.service_parts import live, plan


def parts():
    state = ServerState()
    catalogue = Catalogue()
    return state, catalogue, Health(state, catalogue)


def published(*names, ready=True):
    entries = (name.partition("/") for name in names)
    return Publish(
        1,
        ready,
        tuple(IndexEntry(model, version, VersionState.LOADING) for model, _, version in entries),
    )


def test_a_watch_that_is_slow_is_told_the_latest_health_only():
    async def run():
        state, _, health = parts()
        with health.watch("") as watch:
            assert await watch.next() is Status.NOT_SERVING
            state.publish(published(ready=True))
            state.publish(published(ready=False))
            state.publish(published(ready=True))
            assert await watch.next() is Status.SERVING
            state.publish(published(ready=False))
            state.publish(published(ready=True))
            state.drain()
            assert await watch.next() is Status.NOT_SERVING

    asyncio.run(run())


def test_a_health_that_comes_back_before_anybody_saw_it_leave_is_no_change():
    async def run():
        state, _, health = parts()
        with health.watch("") as watch:
            await watch.next()
            waiting = asyncio.ensure_future(watch.next())
            await asyncio.sleep(0)
            state.publish(published(ready=True))
            state.publish(published(ready=False))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            state.publish(published(ready=True))
            assert await waiting is Status.SERVING

    asyncio.run(run())


def test_thousands_of_watches_are_told_a_few_at_a_turn():
    """The loop does its other work in between."""

    async def run():
        state, _, health = parts()
        watches = [health.watch("") for _ in range(2000)]
        for watch in watches:
            await watch.next()
        waiting = [asyncio.ensure_future(watch.next()) for watch in watches]
        await asyncio.sleep(0)
        state.publish(published(ready=True))
        told_in_a_turn = []
        while not all(each.done() for each in waiting):
            before = sum(each.done() for each in waiting)
            await asyncio.sleep(0)
            told_in_a_turn.append(sum(each.done() for each in waiting) - before)
        assert {each.result() for each in waiting} == {Status.SERVING}
        assert max(told_in_a_turn) <= 64
        assert repr(health) == "<Health SERVING, 2000 watches of 1 names>"

    asyncio.run(run())


def test_a_change_looks_only_at_names_that_are_watched():
    looked_up = []

    class Counting(Health):
        def status(self, service):
            looked_up.append(service)
            return super().status(service)

    async def run():
        state = ServerState()
        catalogue = Catalogue()
        health = Counting(state, catalogue)
        state.publish(published(*(f"m{number}/1" for number in range(500))))
        watches = [health.watch("m1") for _ in range(100)]
        looked_up.clear()
        catalogue.swap([live(plan(f"m{number}")) for number in range(500)], ())
        assert looked_up == ["m1"]
        for watch in watches:
            health.forget(watch)
        looked_up.clear()
        state.drain()
        assert looked_up == []

    asyncio.run(run())


MODELS = ("a", "b")
NAMES = ("", "inference.GRPCInferenceService", "a", "b", "a/1", "a/2", "b/1", "c")
STEPS = st.one_of(
    st.tuples(st.just("live"), st.sampled_from(MODELS), st.sampled_from([1, 2])),
    st.tuples(st.just("retire"), st.sampled_from(MODELS), st.sampled_from([1, 2])),
    st.tuples(
        st.just("publish"), st.booleans(), st.sets(st.sampled_from(["a/1", "a/2", "b/1", "c"]))
    ),
    st.tuples(st.just("drain"), st.none(), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_watches_and_look_ups_agree_with_a_plain_account_of_what_happened(steps):
    async def run():
        state, catalogue, health = parts()
        watches = {name: health.watch(name) for name in NAMES}
        told = {name: await watch.next() for name, watch in watches.items()}
        alive = set()
        known = set()
        ready = False
        draining = False
        for kind, first, second in steps:
            if kind == "live":
                catalogue.swap([live(plan(first, second))], ())
                alive.add((first, second))
            elif kind == "retire":
                catalogue.swap((), [(first, second)])
                alive.discard((first, second))
            elif kind == "publish":
                state.publish(published(*sorted(second), ready=first))
                ready = first
                known = set(second)
            else:
                state.drain()
                draining = True
            there = {f"{model}/{version}" for model, version in alive}
            there |= {model for model, _ in alive}
            known_names = known | {name.partition("/")[0] for name in known}
            for name in NAMES:
                if name in NAMES[:2]:
                    expected = Status.SERVING if ready and not draining else Status.NOT_SERVING
                elif name in there:
                    expected = Status.NOT_SERVING if draining else Status.SERVING
                else:
                    expected = Status.NOT_SERVING if name in known_names else Status.SERVICE_UNKNOWN
                assert health.status(name) is expected
                if expected is not told[name]:
                    told[name] = await asyncio.wait_for(watches[name].next(), 5)
                assert told[name] is expected
        assert set(health.statuses()) == {
            *NAMES[:2],
            *(model for model, _ in alive),
            *(f"{m}/{v}" for m, v in alive),
        } | {part for name in known for part in (name.partition("/")[0], name)}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("ready", "draining"), list(itertools.product([None, False, True], [False, True]))
)
def test_the_state_tells_its_phase(ready, draining):
    state = ServerState()
    if ready is not None:
        state.publish(published(ready=ready))
    if draining:
        state.drain()
    phase = "draining" if draining else {None: "starting", False: "not ready", True: "ready"}[ready]
    assert repr(state) == f"<ServerState {phase}>"
    assert state.ready is (phase == "ready")
