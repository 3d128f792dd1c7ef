"""The control link between two ends of a socket pair, on one event loop."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.core.errors import ModelFailed, ModelNotFound, Unavailable
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.ipc.channel import Channel
from gateway.ipc.framing import decode, encode
from gateway.ipc.messages import (
    Abort,
    Ask,
    BreakerReport,
    Change,
    Commit,
    Committed,
    Drain,
    Listen,
    Listening,
    Prepare,
    Prepared,
    Publish,
    Published,
    Reply,
    ReportBreakers,
    Retired,
    Start,
    StartFailed,
    Stop,
    Stopped,
)
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.ipc.serving_link import ServingLink
from gateway.records.breaker_state import Snapshot

PLAN = VersionPlan(
    model="m",
    version=3,
    path="/m",
    fingerprint="f",
    inputs=(TensorSpec("x", "FP32", (-1, 4)),),
    outputs=(),
    batching=BatchingPlan(8, splits=True),
)
BREAKERS = ((("m", 3, ""), Snapshot("m 3", "open", "", 5, 20, 5, 3.0, 1, "no memory")),)
START = Start(
    settings={"any": "thing"}, addresses=("127.0.0.1:1",), slot=1, processes=2, grace_s=7.0
)


class Recorder:
    """Carries out what the link orders and records it."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.preparing = asyncio.Event()
        self.may_prepare = asyncio.Event()
        self.may_prepare.set()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.fault: Exception | None = None

    async def listen(self):
        return Listening(4711)

    async def prepare(self, change_id, plans):
        self.preparing.set()
        await self.may_prepare.wait()
        if self.fault:
            raise self.fault
        self.heard.append(("prepared", change_id, plans))
        return ((("m", 9), "broken"),)

    def commit(self, change_id, live, retire):
        if self.fault:
            raise self.fault
        self.heard.append(("commit", change_id, live, retire))
        return asyncio.sleep(0)

    def abort(self, change_id):
        self.heard.append(("abort", change_id))

    def publish(self, publication):
        self.heard.append(publication)

    def report_breakers(self):
        return BREAKERS

    def drain(self):
        self.heard.append("drain")

    async def stop(self, grace_s):
        self.heard.append(("stop", grace_s))
        await self.may_stop.wait()


class Pair:
    """The main process's end of a link, and a serving process's end that serves."""

    async def __aenter__(self):
        ours, theirs = socket.socketpair()
        self.control = await Channel.open(ours)
        self.serving = await ServingLink.open(theirs.detach())
        self.control.send(START)
        assert await self.serving.start() == START
        self.served = Recorder()
        self.task = asyncio.create_task(self.serving.serve(self.served))
        return self

    async def __aexit__(self, *_):
        self.served.may_stop.set()
        self.served.may_prepare.set()
        self.control.close()
        await asyncio.wait_for(asyncio.wait((self.task,)), 5)
        await self.serving.__aexit__(None, None, None)

    async def hear(self, count=1):
        return [await asyncio.wait_for(self.control.receive(), 5) for _ in range(count)]


def with_pair(test):
    async def run():
        async with Pair() as pair:
            await test(pair)

    asyncio.run(run())


def test_messages_arrive_as_they_were_sent():
    for message in (
        START,
        Prepare(1, (PLAN,)),
        Publish(
            2,
            True,
            (IndexEntry("m", "1", VersionState.READY, "because"),),
            {"a": ("x",)},
            {"b": 1},
            {("m", 1, ""): "open"},
        ),
        BreakerReport(3, BREAKERS),
        Reply(3, ModelNotFound("who?")),
        Ask(4, Change.LOAD, "m", {"config": "{}"}),
    ):
        body = encode(message)[4:]
        again = decode(body)
        if isinstance(message, Reply):
            assert isinstance(again, Reply)
            assert (type(again.error), str(again.error)) == (ModelNotFound, "who?")
        else:
            assert again == message


def test_every_order_is_carried_out_and_reported():
    async def test(pair):
        for order in (Listen(), Prepare(1, (PLAN,)), Publish(5, True, ()), Drain()):
            pair.control.send(order)
        assert set(map(type, heard := await pair.hear(3))) == {Listening, Prepared, Published}
        assert Listening(4711) in heard
        assert Prepared(1, ((("m", 9), "broken"),)) in heard
        pair.control.send(Commit(1, (("m", 3),), (("m", 2),)))
        assert await pair.hear(2) == [Committed(1), Retired(1)]
        pair.control.send(Stop(2.5))
        assert await pair.hear() == [Stopped()]
        assert ("prepared", 1, (PLAN,)) in pair.served.heard
        assert pair.served.heard[-2:] == [("commit", 1, (("m", 3),), (("m", 2),)), ("stop", 2.5)]
        assert "drain" in pair.served.heard

    with_pair(test)


def test_breakers_are_reported_when_asked_for():
    async def test(pair):
        pair.control.send(ReportBreakers(7))
        assert await pair.hear() == [BreakerReport(7, BREAKERS)]

    with_pair(test)


def test_a_fault_while_preparing_is_an_error_of_those_versions_and_no_more():
    async def test(pair):
        pair.served.fault = RuntimeError("our fault")
        pair.control.send(Prepare(1, (PLAN,)))
        assert await pair.hear() == [Prepared(1, ((("m", 3), "RuntimeError: our fault"),))]
        assert not pair.task.done()

    with_pair(test)


def test_a_fault_while_committing_ends_the_process():
    async def test(pair):
        pair.served.fault = RuntimeError("cannot agree")
        pair.control.send(Commit(1, ()))
        with pytest.raises(RuntimeError, match="cannot agree"):
            await asyncio.wait_for(pair.task, 5)

    with_pair(test)


def test_an_abort_waits_until_the_preparing_has_ended():
    async def test(pair):
        pair.served.may_prepare.clear()
        pair.control.send(Prepare(1, (PLAN,)))
        pair.control.send(Abort(1))
        pair.control.send(Publish(1, False, ()))
        assert await pair.hear() == [Published(1)]
        assert ("abort", 1) not in pair.served.heard
        pair.served.may_prepare.set()
        await pair.hear()
        pair.control.send(Publish(2, False, ()))
        await pair.hear()
        assert pair.served.heard.index(("prepared", 1, (PLAN,))) < pair.served.heard.index(
            ("abort", 1)
        )

    with_pair(test)


def test_when_the_supervisor_is_gone_it_stops_with_the_grace_it_was_started_with():
    async def test(pair):
        pair.control.close()
        await asyncio.wait_for(pair.task, 5)
        assert pair.served.heard == [("stop", 7.0)]

    with_pair(test)


def test_what_is_asked_is_answered_or_raises_what_ended_it():
    async def test(pair):
        good = asyncio.create_task(pair.serving.ask(Change.LOG_SETTINGS, parameters={"a": 1}))
        bad = asyncio.create_task(pair.serving.ask(Change.LOAD, "m"))
        first, second = await pair.hear(2)
        assert (first.change, first.parameters, second.change, second.model) == (
            Change.LOG_SETTINGS,
            {"a": 1},
            Change.LOAD,
            "m",
        )
        pair.control.send(Reply(second.request_id, ModelFailed("broken")))
        pair.control.send(Reply(first.request_id, value={"a": 1}))
        assert await good == {"a": 1}
        with pytest.raises(ModelFailed, match="broken"):
            await bad

    with_pair(test)


def test_a_reply_to_a_caller_who_has_left_is_ignored():
    async def test(pair):
        asking = asyncio.create_task(pair.serving.ask(Change.LOAD, "m"))
        (ask,) = await pair.hear()
        asking.cancel()
        await asyncio.wait((asking,))
        pair.control.send(Reply(ask.request_id))
        pair.control.send(Publish(1, True, ()))
        assert await pair.hear() == [Published(1)]

    with_pair(test)


def test_a_caller_is_answered_while_the_process_stops():
    async def test(pair):
        pair.served.may_stop.clear()
        asking = asyncio.create_task(pair.serving.ask(Change.LOAD, "m"))
        (ask,) = await pair.hear()
        pair.control.send(Stop(1.0))
        pair.control.send(Reply(ask.request_id, value="done"))
        assert await asyncio.wait_for(asking, 5) == "done"

    with_pair(test)


def test_callers_are_not_left_waiting_when_the_supervisor_goes():
    async def test(pair):
        asking = asyncio.create_task(pair.serving.ask(Change.LOAD, "m"))
        await pair.hear()
        pair.control.close()
        with pytest.raises(Unavailable, match="not known whether"):
            await asyncio.wait_for(asking, 5)
        with pytest.raises(Unavailable, match="nothing can be changed"):
            await pair.serving.ask(Change.LOAD, "m")

    with_pair(test)


def test_a_process_that_cannot_start_says_so_before_it_goes():
    async def run():
        ours, theirs = socket.socketpair()
        control = await Channel.open(ours)
        serving = await ServingLink.open(theirs.detach())
        control.send(START)
        async with serving:
            await serving.start()
            await serving.refuse("no certificate")
        assert await control.receive() == StartFailed("no certificate")
        assert await control.receive() is None
        control.close()

    asyncio.run(run())
