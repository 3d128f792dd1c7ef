"""Worker processes that die, hang, grow and fail to start.

The processes are real; some run entries of `tests.support.worker_stand_ins`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import DeadlineExpired, InstanceFailed
from gateway.onnx.session import SessionNotOpened
from gateway.serving.runtime.process.process_workers import ProcessWorkers
from tests.support.checkout import ROOT
from tests.support.worker_works import (
    SomeWork,
    children,
    doubling,
    fates,
    is_there,
    know_strangers,
    open_files,
    open_workers,
    over,
    plan_of,
    some,
    until,
)


@pytest.fixture(autouse=True)
def strangers():
    know_strangers()


def echo(**workers):
    """A plan for the stand-in `echo`: it opens at once and does what the batch says."""
    return plan_of("none", [("x", "FP32", (-1, 4))], [("y", "FP32", (-1, 4))], batch=64, **workers)


def order(number):
    return SomeWork({"x": np.full((2, 4), number, "f4")}, 2)


def run(main):
    asyncio.run(main())


class TestDeath:
    def test_an_idle_process_that_dies_is_noticed_and_started_again(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path)) as (workers, events):
                (instance,) = workers.instances
                changes = []
                instance.watch(lambda: changes.append(instance.available))
                pid = instance.pid
                os.kill(pid, signal.SIGKILL)
                await until(lambda: not instance.available, 1)
                with pytest.raises(
                    InstanceFailed,
                    match=r"worker 1 of 'm' version 1 is started again: its process \(pid "
                    rf"{pid}\) died with SIGKILL",
                ):
                    await over(instance, some())
                await until(lambda: instance.available)
                assert instance.pid != pid
                assert (await over(instance, some()))[0].tolist() == [[0, 2, 4, 6], [8, 10, 12, 14]]
                assert changes == [False, True]
                assert fates(events) == ["OPENED", "DIED", "OPENED"]

        run(main)

    @pytest.mark.parametrize(
        ("number", "how"), [(-1, "died with SIGSEGV"), (-2, "exited with status 3")]
    )
    def test_a_batch_that_ends_its_process_fails_with_the_way_it_ended_and_nobody_else_does(
        self, tmp_path, capfd, number, how
    ):
        async def main():
            async with (
                open_workers(echo(count=2), "tests.support.worker_stand_ins:echo") as (workers, _),
                open_workers(doubling(tmp_path)) as (others, other_events),
            ):
                one, two = workers.instances
                pid = one.pid
                with pytest.raises(
                    InstanceFailed,
                    match=rf"worker 1 \(pid {pid}\) of 'm' version 1 {how} while it ran the batch",
                ):
                    await over(one, order(number))
                assert not one.available
                assert await over(two, order(1))
                assert await over(others.instances[0], some())
                assert len(other_events) == 1
                await until(lambda: one.available)
                assert await over(one, order(1))

        run(main)

    @pytest.mark.alone
    def test_a_process_killed_in_the_middle_of_a_batch_is_noticed_at_once(self):
        async def main():
            async with open_workers(echo(), "tests.support.worker_stand_ins:echo") as (workers, _):
                (instance,) = workers.instances
                running = asyncio.ensure_future(over(instance, order(-3)))
                await asyncio.sleep(0.05)
                os.kill(instance.pid, signal.SIGKILL)
                began = time.monotonic()
                with pytest.raises(InstanceFailed, match="died with SIGKILL"):
                    await running
                assert time.monotonic() - began < 0.5

        run(main)

    @pytest.mark.alone
    def test_one_that_dies_again_and_again_is_started_more_and_more_slowly(self):
        async def main():
            async with open_workers(echo(), "tests.support.worker_stand_ins:echo") as (
                workers,
                events,
            ):
                (instance,) = workers.instances
                pauses = []
                for _ in range(4):
                    with pytest.raises(InstanceFailed):
                        await over(instance, order(-2))
                    began = time.monotonic()
                    await until(lambda: instance.available)
                    pauses.append(time.monotonic() - began)
                assert pauses[3] > max(0.4, min(pauses[:3]))
                assert "GIVEN_UP" not in fates(events)

        run(main)

    def test_twenty_lives_leave_nothing_behind(self, tmp_path):
        def counts():
            gc.collect()
            maps = Path("/proc/self/maps").read_text()
            return (
                open_files(),
                threading.active_count(),
                len(children()),
                maps.count("memfd:gateway-worker"),
            )

        async def main():
            plan = doubling(tmp_path)
            async with open_workers(plan) as (workers, _):
                assert await over(workers.instances[0], some())
            before = counts()
            async with open_workers(plan) as (workers, events):
                (instance,) = workers.instances
                # no waiting between the starts
                instance._thread._lifecycle._restarts.died = lambda _served_s: 0.0
                await over(instance, some())
                open_before = counts()
                for _ in range(20):
                    os.kill(instance.pid, signal.SIGKILL)
                    await until(lambda: not instance.available)
                    await until(lambda: instance.available)
                    await over(instance, some())
                assert counts() == open_before
                assert fates(events).count("DIED") == 20
            assert counts() == before

        run(main)

    @pytest.mark.parametrize("entry", ["mumbles", "lies"])
    def test_an_answer_that_is_none_costs_the_process_and_not_the_gateway(self, entry):
        async def main():
            async with open_workers(echo(), f"tests.support.worker_stand_ins:{entry}") as (
                workers,
                _,
            ):
                (instance,) = workers.instances
                pid = instance.pid
                with pytest.raises(InstanceFailed, match="sent an invalid answer"):
                    await over(instance, some())
                await until(lambda: instance.available)
                assert not is_there(pid)

        run(main)


class TestHang:
    def test_a_run_that_takes_too_long_fails_and_its_process_is_replaced_while_others_go_on(self):
        async def main():
            async with open_workers(
                echo(count=2, batch_timeout_s=0.3), "tests.support.worker_stand_ins:echo"
            ) as (workers, events):
                one, two = workers.instances
                pid = one.pid
                running = asyncio.ensure_future(over(one, order(-3)))
                while not running.done():
                    assert await over(two, order(1))
                with pytest.raises(
                    InstanceFailed,
                    match=rf"\(pid {pid}\) .* took longer than 0.3 s for a batch: replaced",
                ):
                    await running
                await until(lambda: one.available)
                assert await over(one, order(1))
                assert fates(events) == ["OPENED", "HUNG", "OPENED"]
                await until(lambda: not is_there(pid))

        run(main)

    def test_a_process_that_does_not_even_hear_is_killed(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path, batch_timeout_s=0.2)) as (workers, _):
                (instance,) = workers.instances
                pid = instance.pid
                os.kill(pid, signal.SIGSTOP)
                with pytest.raises(InstanceFailed, match="took longer"):
                    await over(instance, some())
                await until(lambda: instance.available)
                await until(lambda: not is_there(pid), 3)

        run(main)

    def test_a_batch_nobody_waits_for_any_more_is_given_up_and_its_process_is_not(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path)) as (workers, events):
                (instance,) = workers.instances
                pid = instance.pid
                os.kill(pid, signal.SIGSTOP)
                work = some()
                work.deadline = time.monotonic() + 0.1
                with pytest.raises(DeadlineExpired):
                    await over(instance, work)
                assert not instance.available
                next_one = asyncio.ensure_future(over(instance, some(3)))
                await asyncio.sleep(0.05)
                assert not next_one.done()
                os.kill(pid, signal.SIGCONT)
                assert (await next_one)[0].shape == (3, 4)
                await until(lambda: instance.available)
                assert work.settled == 1
                assert instance.pid == pid
                assert fates(events) == ["OPENED"]

        run(main)

    def test_what_hangs_is_gone_when_it_is_closed(self):
        async def main():
            async with open_workers(echo(), "tests.support.worker_stand_ins:echo") as (workers, _):
                (instance,) = workers.instances
                running = asyncio.ensure_future(over(instance, order(-3)))
                os.kill(instance.pid, signal.SIGSTOP)
                await asyncio.sleep(0.05)
                pid = instance.pid
                began = time.monotonic()
            assert not is_there(pid)
            assert time.monotonic() - began < 3
            with pytest.raises(InstanceFailed, match="was stopped"):
                await running
            with pytest.raises(InstanceFailed, match="was stopped"):
                await over(instance, some())

        run(main)


class TestMemory:
    def test_processes_that_grow_are_replaced_one_at_a_time_and_never_missed(self):
        async def main():
            async with open_workers(
                echo(count=2, memory_limit_bytes=100 << 20), "tests.support.worker_stand_ins:echo"
            ) as (workers, events):
                changes = []
                for instance in workers.instances:
                    instance.watch(lambda: changes.append(workers))
                pids = [instance.pid for instance in workers.instances]
                for instance in workers.instances:
                    await over(instance, order(-4))
                while sum(event.fate.name == "RENEWED" for event in events) < 2:
                    for instance in workers.instances:
                        await over(instance, order(1))
                    assert (
                        sum(
                            instance._thread._lifecycle.coming is not None
                            for instance in workers.instances
                        )
                        <= 1
                    )
                    await asyncio.sleep(0.01)
                assert changes == []
                assert {"DIED", "HUNG", "OUTGREW"}.isdisjoint(
                    fates(events) + fates(events, "worker 2")
                )
                await until(lambda: not any(map(is_there, pids)))

        run(main)

    def test_a_replacement_that_does_not_open_leaves_the_old_process_at_work(self, tmp_path):
        async def main():
            plan = plan_of(
                tmp_path / "marker",
                [("x", "FP32", (-1, 4))],
                [("y", "FP32", (-1, 4))],
                memory_limit_bytes=100 << 20,
                start_attempts=1,
            )
            async with open_workers(plan, "tests.support.worker_stand_ins:only_first") as (
                workers,
                events,
            ):
                (instance,) = workers.instances
                pid = instance.pid
                await over(instance, order(-4))
                while "NOT_OPENED" not in fates(events):
                    await over(instance, order(1))
                assert instance.available
                assert instance.pid == pid
                assert await over(instance, order(1))

        run(main)

    def test_a_run_that_allocates_without_end_is_killed(self):
        async def main():
            async with open_workers(
                echo(memory_limit_bytes=100 << 20), "tests.support.worker_stand_ins:echo"
            ) as (workers, events):
                (instance,) = workers.instances
                with pytest.raises(
                    InstanceFailed, match=r"MiB during a batch, its limit is 1\d\d MiB"
                ):
                    await over(instance, order(-5))
                await until(lambda: instance.available)
                assert fates(events) == ["OPENED", "OUTGREW", "OPENED"]

        run(main)

    def test_a_limit_below_what_the_open_model_takes_does_not_replace_it_for_ever(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path, memory_limit_bytes=1 << 20)) as (
                workers,
                events,
            ):
                (instance,) = workers.instances
                instance._thread._lifecycle._check_at = 0
                for _ in range(5):
                    await over(instance, some())
                assert fates(events) == ["OPENED"]

        run(main)

    def test_the_kernel_takes_a_worker_before_the_gateway(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path)) as (workers, _):
                score = lambda pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text())  # noqa: E731
                assert score(workers.instances[0].pid) > score("self")

        run(main)


class TestStart:
    def test_a_model_that_cannot_be_opened_is_said_at_once(self, tmp_path):
        (tmp_path / "model.onnx").write_bytes(b"no model")
        plan = plan_of(tmp_path / "model.onnx", [], [], count=2)

        async def main():
            with pytest.raises(
                SessionNotOpened,
                match=r"cannot be opened in a worker process: ONNX "
                r"Runtime .* cannot open the model",
            ):
                async with open_workers(plan):
                    pass
            assert not children()

        run(main)

    def test_starts_that_end_are_tried_again_and_then_said(self):
        async def main():
            events = []
            workers = ProcessWorkers(
                echo(start_attempts=3),
                entry="tests.support.worker_stand_ins:exits",
                on_event=events.append,
            )
            with pytest.raises(
                SessionNotOpened,
                match="3 starts failed, the last because the process exited "
                "with status 7 while it opened",
            ):
                await workers.start()
            assert fates(events) == ["NOT_OPENED", "NOT_OPENED", "GIVEN_UP"]
            assert len({event.pid for event in events}) == 3

        run(main)

    def test_a_start_that_hangs_is_ended(self):
        async def main():
            began = time.monotonic()
            with pytest.raises(SessionNotOpened, match=r"took longer than 0\.5 s"):
                async with open_workers(
                    echo(start_timeout_s=0.5), "tests.support.worker_stand_ins:sleeps"
                ):
                    pass
            assert time.monotonic() - began < 5
            assert not children()

        run(main)

    def test_a_start_that_is_cancelled_leaves_nothing_behind(self):
        async def main():
            files = open_files()
            threads = threading.active_count()
            start = asyncio.create_task(
                ProcessWorkers(echo(count=2), entry="tests.support.worker_stand_ins:sleeps").start()
            )
            await until(lambda: len(children()) == 2)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
            assert (len(children()), open_files(), threading.active_count()) == (0, files, threads)

        run(main)

    @pytest.mark.alone
    def test_a_model_that_takes_long_to_open_holds_nobody_up(self, tmp_path):
        async def main():
            plan = doubling(tmp_path)
            async with open_workers(plan) as (workers, _):
                slow = ProcessWorkers(plan, entry="tests.support.worker_stand_ins:slow")
                start = asyncio.create_task(slow.start())
                turns = 0
                longest = 0.0
                while not start.done():
                    began = time.monotonic()
                    await over(workers.instances[0], some())
                    turns = turns + 1
                    longest = max(longest, time.monotonic() - began)
                await slow.close()
                assert turns > 100
                assert longest < 0.5

        run(main)

    def test_no_interpreter_is_said_and_leaves_nothing_open(self, monkeypatch):
        async def main():
            files = open_files()
            monkeypatch.setattr(sys, "executable", "/nonexistent")
            with pytest.raises(SessionNotOpened, match="no process can be started"):
                async with open_workers(echo(start_attempts=2)):
                    pass
            assert open_files() == files

        run(main)

    def test_a_worker_whose_restarts_all_fail_is_given_up_and_says_why(self, tmp_path, caplog):
        async def main():
            plan = plan_of(
                tmp_path / "marker",
                [("x", "FP32", (-1, 4))],
                [("y", "FP32", (-1, 4))],
                start_attempts=2,
            )
            async with open_workers(plan, "tests.support.worker_stand_ins:only_first") as (
                workers,
                events,
            ):
                (instance,) = workers.instances
                os.kill(instance.pid, signal.SIGKILL)
                await until(lambda: "GIVEN_UP" in fates(events))
                assert fates(events) == ["OPENED", "DIED", "NOT_OPENED", "GIVEN_UP"]
                with pytest.raises(
                    InstanceFailed,
                    match="has been given up: 2 starts failed, the last because the "
                    "process exited with status 8",
                ):
                    await over(instance, some())
                assert not instance.available
            assert "ERROR" in caplog.text

        run(main)

    def test_a_model_that_cannot_be_warmed_up_is_said_and_served(self, tmp_path):
        async def main():
            plan = plan_of(
                doubling(tmp_path).path,
                [("x", "FP32", (-1, 5))],
                [("y", "FP32", (-1, 4))],
                batch=64,
                warm=(1,),
            )
            async with open_workers(plan) as (workers, events):
                assert fates(events) == ["OPENED", "NOT_WARMED"]
                assert await over(workers.instances[0], some())

        run(main)

    def test_a_worker_process_loads_onnxruntime_and_no_grpc(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path)) as (workers, _):
                # at once
                maps = Path(f"/proc/{workers.instances[0].pid}/maps").read_text()  # noqa: ASYNC240
                assert "onnxruntime" in maps
                assert "grpc" not in maps
                assert "google" not in maps

        run(main)

    def test_workers_never_started_have_nothing_to_close(self):
        async def main():
            files = open_files()
            await ProcessWorkers(echo()).close()
            assert open_files() == files

        run(main)


class TestTheGatewaysEnd:
    def test_signals_to_the_whole_group_are_the_gateways(self, tmp_path):
        async def main():
            async with open_workers(doubling(tmp_path)) as (workers, events):
                (instance,) = workers.instances
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(instance.pid, number)
                assert await over(instance, some())
                assert len(events) == 1

        run(main)

    @pytest.mark.parametrize("number", [1, -3])
    def test_a_gateway_that_is_killed_takes_its_workers_along_also_in_the_middle_of_a_run(
        self, number
    ):
        program = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.worker_works import open_workers, plan_of, SomeWork
import numpy as np
async def main():
    plan = plan_of("none", [("x", "FP32", (-1, 4))], [("y", "FP32", (-1, 4))], batch=64)
    async with open_workers(plan, "tests.support.worker_stand_ins:echo") as (workers, _):
        (instance,) = workers.instances
        instance.run(SomeWork({{"x": np.full((2, 4), {number}, "f4")}}, 2), lambda: None)
        await asyncio.sleep(0.1)
        print(instance.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        ) as gateway:
            pid = int(gateway.stdout.readline())
            assert is_there(pid)
            gateway.kill()
            gateway.wait()
            end = time.monotonic() + 5
            while is_there(pid):
                assert time.monotonic() < end
                time.sleep(0.01)
