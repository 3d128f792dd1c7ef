"""Streams that are ended at the stop."""

import asyncio

import pytest

from gateway.core.grpc_codes import UNAVAILABLE
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.transport.interface import CallEnded


async def for_ever():
    await asyncio.get_running_loop().create_future()


async def wait_for_ever(streams):
    await streams.wait(for_ever())


def test_ending_ends_streams_where_they_wait_with_a_status():
    async def run():
        streams = OpenStreams()
        tasks = [asyncio.ensure_future(wait_for_ever(streams)) for _ in range(3)]
        await asyncio.sleep(0)
        assert repr(streams) == "<OpenStreams 3 waiting>"
        streams.end()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, CallEnded)
            assert ended.code == UNAVAILABLE
        assert repr(streams) == "<OpenStreams ended>"

    asyncio.run(run())


def test_a_stream_that_its_caller_cancels_is_cancelled():
    async def run():
        streams = OpenStreams()
        task = asyncio.ensure_future(wait_for_ever(streams))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(streams) == "<OpenStreams 0 waiting>"

    asyncio.run(run())


@pytest.mark.parametrize("caller_first", [True, False])
def test_a_stream_that_ends_while_its_caller_cancels_is_cancelled(caller_first):
    async def run():
        streams = OpenStreams()
        task = asyncio.ensure_future(wait_for_ever(streams))
        await asyncio.sleep(0)
        for cancel in (task.cancel, streams.end) if caller_first else (streams.end, task.cancel):
            cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_stream_that_comes_after_the_end_is_refused():
    async def run():
        streams = OpenStreams()
        streams.end()
        with pytest.raises(CallEnded):
            await wait_for_ever(streams)

    asyncio.run(run())


def test_a_stream_is_not_ended_while_it_sends():
    async def run():
        streams = OpenStreams()
        sending = asyncio.Event()
        sent = asyncio.get_running_loop().create_future()

        async def stream():
            assert await streams.wait(asyncio.sleep(0, "question")) == "question"
            sending.set()
            await sent
            await streams.wait(for_ever())

        task = asyncio.ensure_future(stream())
        await sending.wait()
        streams.end()
        await asyncio.sleep(0)
        assert not task.done()
        sent.set_result(None)
        with pytest.raises(CallEnded):
            await task

    asyncio.run(run())
