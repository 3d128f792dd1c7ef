"""Models, plans and batches for the tests of worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from gateway.core.datatypes import numpy_dtype
from gateway.core.plan import BatchingPlan, TensorSpec, VersionPlan
from gateway.core.protection import ProcessWorkersPlan, ProtectionPlan
from gateway.onnx.session import Session
from gateway.serving.runtime.process.process_workers import ProcessWorkers
from gateway.serving.runtime.runner import VersionRunner

TYPES = {
    "BOOL": TensorProto.BOOL, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32, "INT64": TensorProto.INT64, "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32, "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip


def save(folder, nodes, inputs, outputs, initializers=()):
    """Saves a model and returns its path; inputs and outputs are (name, datatype, shape)."""
    infos = lambda given: [  # noqa: E731
        helper.make_tensor_value_info(name, TYPES[datatype], shape)
        for name, datatype, shape in given
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", infos(inputs), infos(outputs), list(initializers)),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 9
    path = folder / "model.onnx"
    onnx.save(made, path)
    return str(path)


def plan_of(path, inputs, outputs, *, batch=0, warm=(), **workers):
    specs = lambda given: tuple(  # noqa: E731
        spec if isinstance(spec, TensorSpec) else TensorSpec(*spec) for spec in given
    )
    return VersionPlan(
        "m", 1, str(path), "", specs(inputs), specs(outputs), BatchingPlan(max_batch_size=batch),
        warmup_batch_sizes=warm, protection=ProtectionPlan(workers=ProcessWorkersPlan(**workers)),
    )  # fmt: skip


def doubling(folder, **workers):
    """A plan of `y = x + x`, FP32 [N, 4]."""
    path = save(
        folder,
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", "FP32", ["N", 4])],
        [("y", "FP32", ["N", 4])],
    )
    return plan_of(path, [("x", "FP32", (-1, 4))], [("y", "FP32", (-1, 4))], batch=64, **workers)


def values(datatype, shape, start=0):
    count = int(np.prod(shape))
    if datatype == "BYTES":
        return np.array([f"é{i + start}\0" for i in range(count)], object).reshape(shape)
    return (np.arange(count) + start).astype(numpy_dtype(datatype)).reshape(shape)


def in_process(plan):
    return VersionRunner(plan, Session(plan.path, plan.session))


class SomeWork:
    """A `gateway.core.instance.Work` of given inputs."""

    def __init__(self, feed, rows=-1, wanted=(0,), deadline=math.inf):
        self.feed = feed
        self.rows = rows
        self.wanted = wanted
        self.deadline = deadline
        self.input_bytes = sum(array.nbytes for array in feed.values())
        self.outputs = None
        self.error = None
        self.settled = 0

    def collate(self, room=None):
        if room is None:
            return dict(self.feed)
        feed = {name: room(array.shape, array.dtype) for name, array in self.feed.items()}
        for name, array in feed.items():
            np.copyto(array, self.feed[name])
        return feed

    def finish(self, outputs):
        self.outputs = outputs
        self.settled = self.settled + 1

    def fail(self, error):
        self.error = error
        self.settled = self.settled + 1


def some(rows=2):
    return SomeWork({"x": np.arange(rows * 4, dtype="f4").reshape(rows, 4)}, rows)


async def over(instance, work):
    """Runs the work and returns its outputs, or raises its error."""
    done = asyncio.Event()
    instance.run(work, done.set)
    await asyncio.wait_for(done.wait(), 30)
    assert work.settled == 1
    if work.error is not None:
        raise work.error
    return work.outputs


async def until(condition, within_s=30.0):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def open_workers(plan, entry="gateway.serving.runtime.process.worker:serve"):
    """Starts workers; yields them and the events of all of them so far."""
    events = []
    async with ProcessWorkers(plan, on_event=events.append, entry=entry) as workers:
        yield workers, events


def fates(events, worker="worker 1"):
    return [event.fate.name for event in events if event.worker == worker]


def is_there(pid):
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


STRANGERS = set()
"""Child processes that other tests keep."""


def children():
    """The ids of this process's children that the running test has started, zombies too."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.update((task / "children").read_text().split())
    return found - STRANGERS


def know_strangers():
    """Keeps the children that run now as those of other tests."""
    STRANGERS.clear()
    STRANGERS.update(children())


def open_files():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names will do
