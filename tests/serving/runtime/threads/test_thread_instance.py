"""The shared threads as an instance.

Every work runs once, in a thread, and its end is reported on the loop.
"""

import asyncio
import threading

import numpy as np
import pytest

from gateway.core.errors import ModelFailed
from gateway.core.instance import Instance
from gateway.serving.runtime.threads.thread_instance import ThreadInstance
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers


class OneBatch:
    """A work that keeps its outcome, and the thread that it came on."""

    wanted = (0,)

    def __init__(self, value=1):
        self.value = value
        self.rows = 3
        self.outputs = None
        self.error = None
        self.thread = None
        self.done = asyncio.Event()
        self.told_in = None

    def collate(self, room=None):
        return {"x": np.full((3, 1), self.value, "f4")}

    def finish(self, outputs):
        assert self.outputs is self.error is None
        self.outputs = outputs
        self.thread = threading.current_thread().name

    def fail(self, error):
        assert self.outputs is self.error is None
        self.error = error
        self.thread = threading.current_thread().name

    def over(self):
        """The callback of the instance at the work's end, which must come once."""
        assert not self.done.is_set()
        self.told_in = threading.current_thread()
        self.done.set()

    async def ended(self):
        await asyncio.wait_for(self.done.wait(), 10)


class Doubles:
    """A runner that doubles, refuses negative numbers, and waits where the test wants it."""

    def __init__(self):
        self.may_run = threading.Event()
        self.may_run.set()
        self.ran = []
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def run(self, feed, wanted, rows):
        with self._lock:
            self.ran.append(feed["x"][0, 0])
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.may_run.wait(10)
        with self._lock:
            self.at_once -= 1
        assert rows == len(feed["x"])
        if feed["x"][0, 0] < 0:
            raise ModelFailed("negative")
        return [feed["x"] * 2 for _ in wanted]


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.001)


def test_a_work_is_run_in_a_thread_and_its_end_is_told_on_the_loop():
    async def main():
        async with ThreadWorkers(1) as workers:
            work = OneBatch(4)
            ThreadInstance(Doubles(), workers, 1).run(work, work.over)
            await work.ended()
            assert work.outputs[0].tolist() == [[8]] * 3
            assert work.thread == "worker-0"
            assert work.told_in is threading.current_thread()

    asyncio.run(main())


@pytest.mark.parametrize("error", [ModelFailed, KeyError])
def test_a_work_that_fails_is_told_why_and_ends_too(error):
    class Fails:
        def run(self, feed, wanted, rows):
            raise error("no")

    async def main():
        async with ThreadWorkers(1) as workers:
            instance = ThreadInstance(Fails(), workers, 1)
            for _ in range(2):  # the thread came back
                work = OneBatch()
                instance.run(work, work.over)
                await work.ended()
                assert type(work.error) is error

    asyncio.run(main())


def test_a_work_that_cannot_be_collated_fails():
    class Broken(OneBatch):
        def collate(self, room=None):
            raise MemoryError("too large")

    async def main():
        async with ThreadWorkers(1) as workers:
            work = Broken()
            ThreadInstance(Doubles(), workers, 1).run(work, work.over)
            await work.ended()
            assert isinstance(work.error, MemoryError)

    asyncio.run(main())


def test_works_that_find_no_thread_free_are_run_in_turn_and_none_is_lost():
    async def main():
        runner = Doubles()
        runner.may_run.clear()
        async with ThreadWorkers(2) as workers:
            instance = ThreadInstance(runner, workers, 8)
            works = [OneBatch(number) for number in range(8)]
            for work in works:
                instance.run(work, work.over)
            await until(lambda: runner.at_once == 2)
            assert "6 versions wait" in repr(workers)
            runner.may_run.set()
            for work in works:
                await work.ended()
            assert [work.outputs[0][0, 0] for work in works] == [2 * number for number in range(8)]
            assert sorted(runner.ran) == list(range(8))
            assert runner.most == 2
            assert "0 of 2 busy, 0 versions wait" in repr(workers)

    asyncio.run(main())


def test_with_one_thread_works_are_run_in_the_order_they_came():
    async def main():
        runner = Doubles()
        async with ThreadWorkers(1) as workers:
            instance = ThreadInstance(runner, workers, 4)
            works = [OneBatch(number) for number in (3, -1, 2, 5)]
            for work in works:
                instance.run(work, work.over)
            for work in works:
                await work.ended()
            assert runner.ran == [3, -1, 2, 5]
            assert [work.error is None for work in works] == [True, False, True, True]

    asyncio.run(main())


def test_it_shares_the_threads_with_others_who_asked_before():
    async def main():
        async with ThreadWorkers(1) as workers:
            order = []
            assert workers.acquire(lambda: None)

            def other():
                order.append("other")
                assert workers.acquire(lambda: None)
                workers.run(lambda: None, lambda: None)

            assert not workers.acquire(other)
            work = OneBatch()
            ThreadInstance(Doubles(), workers, 1).run(
                work, lambda: (order.append("this"), work.over())
            )
            workers.release()
            await work.ended()
            assert order == ["other", "this"]

    asyncio.run(main())


def test_it_is_always_up_and_is_known_by_one_name():
    async def main():
        instance = ThreadInstance(Doubles(), ThreadWorkers(1), 3)
        told = []
        instance.watch(lambda: told.append(1))
        assert (instance.name, instance.available, instance.capacity, instance.expected_s) == (
            "threads",
            True,
            3,
            0.0,
        )
        assert told == []
        assert all(hasattr(instance, name) for name in vars(Instance) if not name.startswith("_"))

    asyncio.run(main())
