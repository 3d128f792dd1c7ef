"""Opens a version's session and warms it up, without disturbing what is served.

Runs in a serving process, on threads of its own; `warm_up` also in a worker process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np

from gateway.core.errors import ModelFailed
from gateway.core.plan import VersionPlan
from gateway.core.request import Array
from gateway.onnx.random_values import EvenDraws
from gateway.onnx.reference_sample import load_reference, reference_of_warmup
from gateway.onnx.samples import find_sample, sample_rows, sample_tensors
from gateway.onnx.session import Session
from gateway.serving.runtime.runner import VersionRunner, reshape

_log = logging.getLogger(__name__)


class Loader:
    """Opens and warms versions on `threads` threads; `async with` ends them."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="loader")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._executor is not None
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def open(self, plan: VersionPlan) -> VersionRunner:
        """The version, open and warm; raises `SessionNotOpened`.

        A warm-up that fails is a warning: inspection has judged the model.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, _open_warm, plan)

    async def close(self, runner: VersionRunner) -> None:
        """Lets a version's session go."""
        await asyncio.get_running_loop().run_in_executor(self._executor, runner.close)


def _open_warm(plan: VersionPlan) -> VersionRunner:
    began = time.monotonic()
    runner = VersionRunner(plan, Session(plan.path, plan.session))
    opened = time.monotonic()
    try:
        warm_up(plan, runner)
    except ModelFailed as error:
        _log.warning("'%s' version %d could not be warmed up: %s", plan.model, plan.version, error)
    _log.debug(
        "'%s' version %d: opened in %.3f s, warmed in %.3f s",
        plan.model,
        plan.version,
        opened - began,
        time.monotonic() - opened,
    )
    return runner


def warm_up(plan: VersionPlan, runner: VersionRunner) -> None:
    """Runs the configured requests and every batch size of the plan; raises ModelFailed.

    So no caller pays for a first run.
    """
    tensors = sample_tensors(plan.inputs)
    wanted = tuple(range(len(plan.outputs)))
    batched = plan.batching.max_batch_size > 0

    def run(feed: dict[str, Array]) -> list[Array]:
        rows = len(next(iter(feed.values()))) if batched and feed else -1
        return runner.run(_as_called(plan, feed), wanted, rows)

    reference, _ = load_reference(plan.reference, tensors) if plan.reference else ({}, ())
    for warmup in plan.warmup_inputs:
        given, _ = reference_of_warmup(warmup, tensors)
        run(
            {name: np.repeat(array[:1], warmup[0].rows, axis=0) for name, array in given.items()}
            if batched
            else dict(given)
        )
        reference = {**given, **reference}
    if plan.warmup_batch_sizes:
        even = EvenDraws()
        kind, _, _ = find_sample(run, plan.inputs, 1 if batched else None, reference, even)
        for size in plan.warmup_batch_sizes if batched else ():
            run(sample_rows(plan.inputs, size, reference, even, kind))


def _as_called(plan: VersionPlan, feed: dict[str, Array]) -> dict[str, Array]:
    """Samples have the graph's shapes; a runner is given those that callers see."""
    return feed | {
        spec.name: reshape(feed[spec.name], spec.model_shape, spec.shape)
        for spec in plan.inputs
        if spec.model_shape is not None and spec.name in feed
    }
