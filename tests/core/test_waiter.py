"""Waiters under hand-driven coroutines and under Tasks."""

import asyncio
import gc

import pytest

from gateway.core.waiter import Driven, Waiter, become_task


class Ended(Driven):
    __slots__ = ("error", "value")

    def __init__(self):
        self.value = None
        self.error = None

    def _finished(self, value):
        self.value = value

    def _failed(self, error):
        self.error = error


def run(main):
    return asyncio.run(main())


def test_a_driven_coroutine_goes_on_inside_settle():
    async def main():
        waiter = Waiter()
        driven = Ended()

        async def body():
            return await waiter + 1

        driven.start(body())
        assert driven.value is None
        waiter.settle(41)
        assert driven.value == 42

    run(main)


def test_a_coroutine_that_does_not_wait_ends_inside_start():
    async def main():
        driven = Ended()

        async def body():
            return "at once"

        driven.start(body())
        assert driven.value == "at once"

    run(main)


def test_a_task_can_await_a_waiter():
    async def main():
        waiter = Waiter()
        asyncio.get_running_loop().call_soon(waiter.settle, 5)
        assert await asyncio.wait_for(asyncio.ensure_future(_await(waiter)), 1) == 5

    run(main)


async def _await(waiter):
    return await waiter


def test_cancelling_a_task_cancels_the_waiter_it_waits_for():
    async def main():
        waiter = Waiter()
        task = asyncio.ensure_future(_await(waiter))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiter.done()

    run(main)


def test_cancelling_a_driven_coroutine_raises_in_it_at_once():
    async def main():
        waiter = Waiter()
        driven = Ended()
        driven.start(_await(waiter))
        driven.cancel()
        assert isinstance(driven.error, asyncio.CancelledError)

    run(main)


def test_the_first_settlement_counts():
    async def main():
        waiter = Waiter()
        waiter.settle(1)
        waiter.settle(2)
        waiter.fail(ValueError())
        assert not waiter.cancel()
        assert await waiter == 1

    run(main)


@pytest.mark.parametrize("end", ["value", "error", "cancel"])
def test_a_driven_coroutine_that_awaits_a_future_goes_on_in_a_task(end):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiter = Waiter()
        driven = Ended()

        async def body():
            first = await future
            assert asyncio.current_task() is not None
            return first + await waiter

        driven.start(body())
        loop.call_soon(future.set_result, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if end == "value":
            waiter.settle(2)
        elif end == "error":
            waiter.fail(ValueError("no"))
        else:
            driven.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        if end == "value":
            assert driven.value == 3
        else:
            assert isinstance(
                driven.error, ValueError if end == "error" else asyncio.CancelledError
            )

    run(main)


def test_become_task_lets_a_driven_coroutine_use_asyncio_timeout():
    async def main():
        driven = Ended()

        async def body():
            await become_task()
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
            return "timed"

        driven.start(body())
        for _ in range(10):
            await asyncio.sleep(0)
        assert driven.value == "timed"

    run(main)


def test_become_task_is_nothing_inside_a_task():
    async def main():
        await become_task()
        assert asyncio.current_task() is not None

    run(main)


def test_an_error_leaves_no_frames_behind():
    async def main():
        waiter = Waiter()
        error = ValueError("x")
        waiter.fail(error)
        with pytest.raises(ValueError, match="x"):
            await waiter

    run(main)


@pytest.mark.parametrize("as_task", [False, True])
def test_a_failed_wait_leaves_nothing_to_the_garbage_collector(as_task):
    async def main():
        loop = asyncio.get_running_loop()

        async def outer(waiter):
            await inner(waiter)

        async def inner(waiter):
            return await waiter

        async def once():
            waiter = Waiter()
            if as_task:
                task = loop.create_task(outer(waiter))
                await asyncio.sleep(0)
                waiter.fail(ValueError("no"))
                await asyncio.wait([task])
                assert isinstance(task.exception(), ValueError)
            else:
                driven = Ended()
                driven.start(outer(waiter))
                waiter.fail(ValueError("no"))
                assert isinstance(driven.error, ValueError)

        await once()
        gc.collect()
        gc.disable()
        try:
            await once()
            await asyncio.sleep(0)
            assert gc.collect() == 0
        finally:
            gc.enable()

    run(main)


def test_whoever_is_resumed_and_raises_does_not_stop_whoever_settles():
    class Raises(Ended):
        __slots__ = ()

        def _finished(self, value):
            raise RuntimeError("the end")

    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: told.append(str(context["exception"]))
        )
        waiters = [Waiter(), Waiter()]
        driven = [Raises(), Ended()]

        async def body(waiter):
            return await waiter

        for each, waiter in zip(driven, waiters, strict=True):
            each.start(body(waiter))
        for waiter in waiters:
            waiter.settle("here")
        assert driven[1].value == "here"
        assert told == ["the end"]

    run(main)
