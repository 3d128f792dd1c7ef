"""Threads are lent in turn and come back, whatever their jobs do."""

import asyncio
import threading

from gateway.serving.runtime.threads.thread_pool import ThreadWorkers


def run(main):
    return asyncio.run(main())


def test_a_job_runs_on_another_thread_and_is_reported_on_the_loop():
    async def main():
        seen = []
        done = asyncio.Event()
        async with ThreadWorkers(1) as workers:
            assert workers.acquire(lambda: None)
            workers.run(lambda: seen.append(threading.current_thread().name), done.set)
            await asyncio.wait_for(done.wait(), 5)
        assert seen == ["worker-0"]

    run(main)


def test_whoever_asked_first_is_called_first_when_a_worker_is_free():
    async def main():
        order = []
        done = asyncio.Event()
        async with ThreadWorkers(1) as workers:
            assert workers.acquire(lambda: None)

            def take(name):
                def ready():
                    order.append(name)
                    assert workers.acquire(lambda: None)
                    workers.run(lambda: None, done.set if name == "b" else lambda: None)

                return ready

            assert not workers.acquire(take("a"))
            assert not workers.acquire(take("b"))
            workers.release()
            await asyncio.wait_for(done.wait(), 5)
            assert order == ["a", "b"]
            assert "0 of 1 busy" in repr(workers)

    run(main)


def test_a_job_that_raises_gives_its_worker_back(caplog):
    async def main():
        done = asyncio.Event()
        async with ThreadWorkers(1) as workers:
            workers.acquire(lambda: None)
            workers.run(lambda: 1 / 0, done.set)
            await asyncio.wait_for(done.wait(), 5)
            assert workers.acquire(lambda: None)
        assert "This is a bug" in caplog.text

    run(main)


def test_a_job_that_hangs_does_not_keep_the_process_from_ending():
    async def main():
        never = threading.Event()
        async with ThreadWorkers(2) as workers:
            workers.acquire(lambda: None)
            workers.run(never.wait, lambda: None)
        never.set()

    run(main)


def test_there_are_never_more_threads_than_asked_for():
    async def main():
        before = set(threading.enumerate())
        async with ThreadWorkers(3):
            assert len([thread for thread in threading.enumerate() if thread not in before]) == 3

    run(main)
