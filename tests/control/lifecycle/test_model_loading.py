"""A load of one model: each version that is served takes one of a bounded number of rows."""

from __future__ import annotations

import asyncio

from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.model_loading import ModelLoading
from gateway.control.lifecycle.model_record import ModelRecord
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.models.sources.source import CannotPlan, SourceModel
from gateway.core.plan import VersionPlan
from gateway.ipc.framing import LENGTH, decode
from gateway.ipc.messages import Commit, Committed, Listen, Prepare, Prepared, Retired

FULL = "the gateway serves at most 2 versions, and as many are loaded: unload one first"


class Models:
    """A source in which every version but `broken` can be planned."""

    def __init__(self):
        self.broken = set()

    async def plan(self, model, version):
        if version in self.broken:
            raise CannotPlan("no such file")
        return VersionPlan(
            model=model.name, version=version, path="", fingerprint="", inputs=(), outputs=()
        )


class Process:
    """A serving process that opens every version that it gets; it drains when the test lets it."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.rows = {}
        self.draining = []

    def send(self, message):
        asyncio.get_running_loop().call_soon(self.do, message)

    def send_encoded(self, frame):
        self.send(decode(frame[LENGTH.size :]))

    def do(self, message):
        match message:
            case Prepare(change, plans):
                self.rows |= {plan.key: plan.statistics_row for plan in plans}
                self.fleet.receive(0, Prepared(change, ()))
            case Commit(change, _, retired):
                self.fleet.receive(0, Committed(change))
                self.draining.append((change, retired))
                if not retired:
                    self.drain()
            case Listen():
                pass

    def drain(self):
        for change, retired in self.draining:
            for key in retired:
                del self.rows[key]
            self.fleet.receive(0, Retired(change))
        self.draining.clear()


class World:
    """A gateway whose statistics table has room for two versions."""

    def __init__(self):
        self.cleared = []
        self.records = {}
        self.source = Models()
        self.fleet = Fleet(concurrent_loads=1)
        self.process = Process(self.fleet)
        publisher = Publisher(asyncio.Event().wait)
        rows = CounterRows(self.cleared.append, rows=2)
        self.loading = ModelLoading(self.records, self.source, self.fleet, rows, publisher)
        self.fleet.attach(0, self.process)

    async def load(self, name, *versions, together=True):
        record = self.records.setdefault(name, ModelRecord(name))
        found = SourceModel(name, versions)
        await self.loading.attempt(record, found, "", together=together)
        return record

    async def unload(self, name):
        await self.loading.take_away(self.records[name])


def in_world(test):
    async def run():
        await test(World())

    return lambda: asyncio.run(run())


@in_world
async def test_a_version_for_which_there_is_no_row_is_refused_and_the_others_are_served(world):
    await world.load("m", 1)
    both = await world.load("n", 1, 2, together=False)

    assert world.process.rows == {("m", 1): 0, ("n", 1): 1}
    assert both.errors == {2: FULL}
    assert both.live == {1}
    assert FULL in both.load_failure()


@in_world
async def test_when_one_is_unloaded_there_is_room_for_another(world):
    await world.load("m", 1)
    await world.load("n", 1)
    refused = await world.load("o", 1)
    assert refused.errors == {1: FULL}

    await world.unload("m")
    world.process.drain()
    loaded = await world.load("o", 1)

    assert (loaded.errors, loaded.live) == ({}, {1})
    assert world.process.rows == {("n", 1): 1, ("o", 1): 0}
    assert world.cleared == [0]


@in_world
async def test_a_load_that_fails_as_a_whole_keeps_no_row(world):
    world.source.broken = {2}
    failed = await world.load("m", 1, 2)
    assert failed.errors == {2: "no such file"}

    await world.load("n", 1)
    loaded = await world.load("o", 1)

    assert (loaded.errors, loaded.live) == ({}, {1})


@in_world
async def test_the_row_of_a_version_that_still_drains_is_given_to_nobody(world):
    await world.load("m", 1)
    await world.load("n", 1)
    await world.unload("m")
    world.source.broken = {2}
    await world.load("m", 1, 2)  # the change fails as a whole while version 1 drains

    refused = await world.load("o", 1)
    assert (refused.errors, world.cleared) == ({1: FULL}, [])

    world.process.drain()
    assert (await world.load("o", 1)).live == {1}
