"""What a worker process costs a batch.

The same batches run on a thread of this process and in a process of their own, turn by turn.

One batch runs at a time; the next one is handed over when the event loop hears that the last is
done. Every answer is compared with a plain run's.

    .venv/bin/python -m load_tests.process_workers [--seconds 0.3] [--turns 5]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gateway.core.instance import Room
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.protection import ProcessWorkersPlan, ProtectionPlan
from gateway.core.request import Array, InferenceRequest
from gateway.onnx.session import Session
from gateway.serving.runtime.process.process_workers import ProcessWorkers
from gateway.serving.runtime.runner import VersionRunner
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from load_tests.benchmark_models import INPUT, LARGE_GROUPS, LARGE_WIDTH, MID, OUTPUT, SMALL, build

SIZES = {
    "small": (SMALL[0], SMALL[-1]),
    "mid": (MID[0], MID[-1]),
    "large": (LARGE_WIDTH, LARGE_GROUPS),
}
ROWS = (1, 16, 64)
PLAIN_RUNS = 200


class Rows:
    """A batch of given rows, joined by a copy as the gateway's own are."""

    def __init__(self, rows: Array) -> None:
        self._feed = {INPUT: rows}
        self.rows = len(rows)
        self.wanted = (0,)
        self.deadline = math.inf
        self.input_bytes = rows.nbytes
        self.outputs: list[Array] = []
        self.error: Exception | None = None
        self.alone = True
        self.number = 0
        self.requests: Sequence[InferenceRequest] = ()

    def collate(self, room: Room | None = None) -> dict[str, Array]:
        """Copies the rows, into `room` where one is given."""
        if room is not None:
            feed = {name: room(array.shape, array.dtype) for name, array in self._feed.items()}
            for name, array in feed.items():
                np.copyto(array, self._feed[name])
            return feed
        return {name: array.copy() for name, array in self._feed.items()}

    def finish(self, outputs: list[Array]) -> None:
        """Keeps the outputs for the comparison."""
        self.outputs = outputs

    def fail(self, error: Exception) -> None:
        """Keeps the error for the comparison."""
        self.error = error


def plan(models: Path, name: str) -> VersionPlan:
    """The plan of a version as the gateway would serve it, in one worker process."""
    width, answer = SIZES[name]
    specs = (TensorSpec(INPUT, "FP32", (-1, width)),), (TensorSpec(OUTPUT, "FP32", (-1, answer)),)
    path = str((models / name / "1" / "model.onnx").resolve())
    protection = ProtectionPlan(workers=ProcessWorkersPlan(count=1))
    return VersionPlan(
        name,
        1,
        path,
        "",
        *specs,
        BatchingPlan(max_batch_size=max(ROWS)),
        warmup_batch_sizes=ROWS,
        protection=protection,
    )


async def batch_us(
    run: Callable[[Rows, Callable[[], None]], None], rows: Array, expected: Array, seconds: float
) -> float:
    """Microseconds a batch, one after the other; SystemExit is raised where an answer is wrong."""
    over = asyncio.Event()
    count = 0
    work = Rows(rows)
    began = time.perf_counter()

    def go_on() -> None:
        nonlocal count, work
        if work.error is not None or work.outputs[0].tobytes() != expected.tobytes():
            raise SystemExit(f"a wrong answer: {work.error or work.outputs}")
        count += 1
        if time.perf_counter() - began >= seconds:
            over.set()
        else:
            work = Rows(rows)
            run(work, go_on)

    run(work, go_on)
    await over.wait()
    return (time.perf_counter() - began) / count * 1e6


def plain_us(runner: VersionRunner, rows: Array) -> float:
    """Microseconds of a run and nothing else."""
    began = time.perf_counter()
    for _ in range(PLAIN_RUNS):
        runner.run({INPUT: rows}, (0,), len(rows))
    return (time.perf_counter() - began) / PLAIN_RUNS * 1e6


async def measure(version: VersionPlan, *, seconds: float, turns: int) -> None:
    """Measures and prints a line for each batch size."""
    runner = VersionRunner(version, Session(version.path, version.session))
    rng = np.random.default_rng(0)
    async with ProcessWorkers(version) as processes, ThreadWorkers(1) as threads:
        (instance,) = processes.instances

        def in_thread(work: Rows, done: Callable[[], None]) -> None:
            threads.acquire(lambda: None)
            threads.run(
                lambda: work.finish(runner.run(work.collate(), work.wanted, work.rows)), done
            )

        for size in ROWS:
            rows = rng.standard_normal((size, SIZES[version.model][0]), np.float32)
            (expected,) = runner.run({INPUT: rows}, (0,), size)
            for run in (in_thread, instance.run):
                await batch_us(run, rows, expected, seconds / 3)
            ways: dict[str, list[float]] = {"plain": [], "thread": [], "process": []}
            for _ in range(turns):
                ways["plain"].append(plain_us(runner, rows))
                ways["thread"].append(await batch_us(in_thread, rows, expected, seconds))
                ways["process"].append(await batch_us(instance.run, rows, expected, seconds))
            plain, thread, process = (statistics.median(times) for times in ways.values())
            print(
                f"{version.model:6} {size:5} {plain:9.0f} {thread:10.0f} "
                f"{process:11.0f} {1e6 / thread:11.0f} {1e6 / process:12.0f} "
                f"{process - thread:+10.0f} {process / thread:8.2f}x"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.3, help="of each way in each turn")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    print(
        "model   rows  plain us  thread us  process us  thread b/s  process b/s      costs    ratio"
    )
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        build(models)
        for name in SIZES:
            asyncio.run(
                measure(plan(models, name), seconds=arguments.seconds, turns=arguments.turns)
            )


if __name__ == "__main__":
    main()
