"""Options of the session that ONNX Runtime takes with each run, in sessions that really run."""

import asyncio
import resource
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from onnx import TensorProto, helper, numpy_helper

from gateway.core.plan import SessionPlan
from gateway.onnx.run_entries import is_run_entry
from gateway.onnx.session import Session, SessionNotOpened
from tests.support import graphs
from tests.support.worker_works import SomeWork, open_workers, over, plan_of

SHRINKAGE = "memory.enable_memory_arena_shrinkage"
SHRINKS = SessionPlan(options=((SHRINKAGE, "cpu:0"),))
ELEMENTS = 1 << 20
ROWS = 32
A_RUN_MIB = ROWS * ELEMENTS * 4 >> 20  # at least: one tensor of those that lie between x and y
SOME_MIB = A_RUN_MIB // 2


@pytest.fixture
def wide(tmp_path) -> str:
    """`y` is the sum of a million times `x`, FP32 [N, 1]: a run needs 4 MiB and more a row."""
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["copies"]),
        helper.make_node("Neg", ["copies"], ["negated"]),
        helper.make_node("ReduceSum", ["negated", "axes"], ["y"]),
    ]
    values = {"shape": np.array([1, ELEMENTS]), "axes": np.array([1])}
    path = graphs.save(
        tmp_path / "m/1/model.onnx",
        nodes,
        [("x", TensorProto.FLOAT, ["N", 1])],
        [("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    return str(path)


def feed(rows):
    return {"x": np.ones((rows, 1), "f4")}


def memory_mib(pid="self"):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def kept_mib(path, plan):
    """What a large run leaves behind, beside what a small one did before it."""
    session = Session(path, plan)
    session.run(feed(1), ["y"])
    before = memory_mib()
    (y,) = session.run(feed(ROWS), ["y"])
    assert y.tolist() == [[-ELEMENTS]] * ROWS
    return memory_mib() - before


def test_memory_is_given_back_after_each_run_where_that_is_asked_for(wide):
    assert kept_mib(wide, SHRINKS) < SOME_MIB
    assert kept_mib(wide, SessionPlan()) > SOME_MIB


def test_a_bound_run_has_the_options_too(wide):
    kept = []
    for plan in (SHRINKS, SessionPlan()):
        session = Session(wide, plan)
        session.run(feed(1), ["y"])
        before = memory_mib()
        y = np.zeros((ROWS, 1), "f4")
        assert session.bind(feed(ROWS), {"y": y}).run()
        assert y.tolist() == [[-ELEMENTS]] * ROWS
        kept.append(memory_mib() - before)
    assert kept[0] < SOME_MIB < kept[1]


def test_a_worker_process_has_the_options_too(wide):
    specs = [("x", "FP32", (-1, 1))], [("y", "FP32", (-1, 1))]
    plan = structs.replace(plan_of(wide, *specs, batch=ROWS), session=SHRINKS)

    async def main():
        async with open_workers(plan) as (workers, _):
            (instance,) = workers.instances
            await over(instance, SomeWork(feed(1), 1))
            before = memory_mib(instance.pid)
            for _ in range(4):  # from the third on they are bound to the arena
                assert await over(instance, SomeWork(feed(ROWS), ROWS))
            assert memory_mib(instance.pid) - before < SOME_MIB

    asyncio.run(main())


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (SessionPlan(options=((SHRINKAGE, "disk"),)), "Unsupported device"),
        (SessionPlan(options=((SHRINKAGE, "cpu:7"),)), "Did not find an arena"),
        (structs.replace(SHRINKS, memory_arena=False), "Did not find an arena"),
    ],
)
def test_what_onnx_runtime_would_refuse_in_every_run_is_refused_at_once(wide, plan, text):
    with pytest.raises(SessionNotOpened, match=text) as refused:
        Session(wide, plan)
    assert f"({SHRINKAGE}: '{plan.options[0][1]}')" in str(refused.value)


def test_bf16_models_run_with_the_options(tmp_path):
    path = graphs.identity(tmp_path, "m", TensorProto.BFLOAT16, ["N"])
    session = Session(str(path), SHRINKS)
    given = np.ones(3, "f4").astype(_bf16())
    assert session.run({"x": given}, ["y"])[0].tolist() == given.tolist()


def _bf16():
    from ml_dtypes import bfloat16

    return bfloat16


def test_entries_of_the_session_are_none_of_a_run():
    assert is_run_entry(SHRINKAGE)
    assert is_run_entry("qnn.htp_perf_mode")
    assert not is_run_entry("session.set_denormal_as_zero")
