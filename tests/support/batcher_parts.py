"""A batcher on virtual time, with workers that finish when a test says so."""

import asyncio
import math
import selectors

import numpy as np

from gateway.core.errors import ModelFailed
from gateway.core.plan import BatchingPlan, QueuePlan, TensorSpec, VersionPlan
from gateway.core.protection import ProtectionPlan
from gateway.core.request import InferenceRequest, RequestForm
from gateway.records.batch_counter import BatchCounter
from gateway.serving.batching.batcher import Batcher
from gateway.serving.policies.retry_budget import RetryBudget
from gateway.serving.runtime.threads.thread_lanes import ThreadSlots


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when nothing is ready."""

    def __init__(self):
        self._skipped = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self):
        return 1000.0 + self._skipped

    def skip(self, seconds):
        self._skipped += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if timeout:
            self._loop.skip(timeout)
        return super().select(0)


def run(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class PuppetWorkers:
    """Workers that finish when the test says so."""

    def __init__(self, count=1):
        self.free = count
        self.waiting = []
        self.running = []

    def acquire(self, ready):
        if self.free:
            self.free -= 1
            return True
        self.waiting.append(ready)
        return False

    def release(self):
        self.free += 1
        self._lend()

    def run(self, job, done):
        self.running.append((job, done))

    def finish(self):
        """Ends the batch that was begun first."""
        job, done = self.running.pop(0)
        job()
        self.free += 1
        self._lend()
        done()

    def _lend(self):
        while self.free and self.waiting:
            self.waiting.pop(0)()


class Doubler:
    """A model that doubles, and fails when it meets a negative number."""

    def __init__(self):
        self.batches = []

    def run(self, feed, wanted, rows):
        x = feed["x"]
        self.batches.append(x[:, 0].tolist())
        assert rows in (-1, len(x))
        if (x < 0).any():
            raise ModelFailed("negative")
        return [x * 2 for _ in wanted]


class Counts:
    def __init__(self):
        self.requests = 0
        self.rows = 0
        self.batches = 0

    def record_batch(
        self,
        *,
        requests,
        rows,
        queue_ns,
        compute_input_ns,
        compute_infer_ns,
        compute_output_ns,
        now_ms,
    ):
        assert min(queue_ns, compute_input_ns, compute_infer_ns, compute_output_ns) >= 0
        self.requests += requests
        self.rows += rows
        self.batches += 1

    def record_bytes(self, input_bytes, output_bytes):
        assert min(input_bytes, output_bytes) >= 0


SPEC = (TensorSpec("x", "FP32", (-1, 1)),)


def plan(queue=None, instances=1, protection=None, **batching):
    batching = {"max_batch_size": 8, "useful_batch_size": 8, **batching}
    return VersionPlan(
        "m",
        1,
        "",
        "",
        SPEC,
        SPEC,
        BatchingPlan(**batching),
        queue or QueuePlan(),
        instances=instances,
        protection=protection or ProtectionPlan(),
    )


def request(value, rows=1, *, deadline=math.inf, priority=0, timeout_s=0.0, width=1):
    form = RequestForm(
        names=("x",),
        key=("x", width),
        rows=rows,
        input_bytes=4 * rows,
        outputs=(0,),
        parameters={},
        priority=priority,
        timeout_s=timeout_s,
    )
    now = asyncio.get_running_loop().time()
    return InferenceRequest(form, (np.full((rows, width), value, "f4"),), now, deadline)


def batcher(workers, queue=None, runner=None, counts=None, **options):
    made_plan = plan(queue, **options)
    model = runner or Doubler()
    retries = RetryBudget(made_plan.protection.retry, asyncio.get_running_loop().time)
    return Batcher(
        made_plan,
        ThreadSlots(model, workers, made_plan.instances),
        listeners=(BatchCounter(counts or Counts()),),
        retries=retries,
        runner=model,
    )


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def start(made, *requests):
    return [asyncio.ensure_future(made.predict(r)) for r in requests]


def values(tasks):
    return [t.result().outputs[0][:, 0].tolist() for t in tasks]
