"""A worker process answers what this process would, bit for bit, however often it is asked."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.core.errors import ModelFailed
from gateway.core.plan import TensorSpec
from tests.support.worker_works import (
    TYPES,
    SomeWork,
    doubling,
    in_process,
    open_workers,
    over,
    plan_of,
    save,
    some,
    values,
)


def same(plan, works, entry="gateway.serving.runtime.process.worker:serve"):
    """Runs the works in this process and in a worker process, and compares their outputs."""
    here = in_process(plan)

    async def run():
        async with open_workers(plan, entry) as (workers, _):
            (instance,) = workers.instances
            answers = []
            for work in works:
                expected = here.run(work.collate(), work.wanted, work.rows)
                got = await over(instance, work)
                answers.append((expected, got, [array.copy() for array in got]))
            for expected, got, then in answers:  # in memory that stayed as it was
                assert len(expected) == len(got)
                for one, two, three in zip(expected, got, then, strict=True):
                    assert (one.shape, one.dtype) == (two.shape, two.dtype)
                    if one.dtype == object:
                        assert one.tolist() == two.tolist() == three.tolist()
                    else:
                        assert one.tobytes() == two.tobytes() == three.tobytes()

    asyncio.run(run())


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype_of_any_rank_and_size(tmp_path, datatype):
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["s"], ["t"])]
    path = save(
        tmp_path,
        nodes,
        [("x", datatype, ["N", 3]), ("s", datatype, [])],
        [("y", datatype, ["N", 3]), ("t", datatype, [])],
    )
    plan = plan_of(
        path,
        [("x", datatype, (-1, 3)), ("s", datatype, ())],
        [("y", datatype, (-1, 3)), ("t", datatype, ())],
    )
    works = [
        SomeWork(
            {"x": values(datatype, (rows, 3), repeat), "s": values(datatype, (), repeat)},
            wanted=wanted,
        )
        for rows in (2, 0, 5)
        for wanted in ((0, 1), (1,), (1, 0))
        for repeat in range(4)
    ]
    same(plan, works)


def test_sums_have_the_same_last_bit_at_every_batch_size(tmp_path):
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((50, 50)).astype("f4"), f"w{i}")
        for i in range(3)
    ]
    nodes = [
        helper.make_node("MatMul", [f"h{i}" if i else "x", f"w{i}"], [f"h{i + 1}"])
        for i in range(3)
    ]
    nodes.append(helper.make_node("Softmax", ["h3"], ["y"]))
    path = save(tmp_path, nodes, [("x", "FP32", ["N", 50])], [("y", "FP32", ["N", 50])], weights)
    plan = plan_of(
        path, [("x", "FP32", (-1, 50))], [("y", "FP32", (-1, 50))], batch=64, warm=(1, 64)
    )
    same(
        plan,
        [
            SomeWork({"x": rng.standard_normal((rows, 50)).astype("f4")}, rows)
            for _ in range(4)
            for rows in (1, 3, 16, 64)
        ],
    )


def test_configured_shapes(tmp_path):
    path = save(
        tmp_path,
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", "FP32", ["N", 2, 2])],
        [("y", "FP32", ["N", 2, 2])],
    )
    spec = lambda name: TensorSpec(name, "FP32", (-1, 4), model_shape=(-1, 2, 2))  # noqa: E731
    same(
        plan_of(path, [spec("x")], [spec("y")], batch=64),
        [some(rows) for _ in range(4) for rows in (1, 3)],
    )


def test_outputs_whose_shapes_hang_on_the_values(tmp_path):
    path = save(
        tmp_path,
        [helper.make_node("NonZero", ["x"], ["y"])],
        [("x", "INT64", ["N"])],
        [("y", "INT64", [1, "M"])],
    )
    plan = plan_of(path, [("x", "INT64", (-1,))], [("y", "INT64", (1, -1))])
    arrays = [[1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0], [1, 0, 1], [1, 0, 0]]
    same(
        plan,
        [SomeWork({"x": np.array(array)}) for array in arrays],
        "tests.support.worker_stand_ins:tells_bound",
    )
    assert "does not bind" in (tmp_path / "bound").read_text()


def test_outputs_that_an_operator_brings_memory_of_its_own_for(tmp_path):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["go_on"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["N"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, ["N"]),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["rounds", "yes", "x"], ["y"], body=body),
        helper.make_node("Identity", ["yes"], ["z"]),
    ]
    yes = numpy_helper.from_array(np.array(True), "yes")
    path = save(
        tmp_path,
        nodes,
        [("rounds", "INT64", []), ("x", "FP32", ["N"])],
        [("y", "FP32", ["N"]), ("z", "BOOL", [])],
        [yes],
    )
    plan = plan_of(
        path,
        [("rounds", "INT64", ()), ("x", "FP32", (-1,))],
        [("y", "FP32", (-1,)), ("z", "BOOL", ())],
    )
    rounds = [0, 0, 0, 0, 3, 3, 1, 0, 2]
    same(
        plan,
        [
            SomeWork({"rounds": np.array(r), "x": np.arange(3, dtype="f4") + i}, wanted=(0, 1))
            for i, r in enumerate(rounds)
        ],
    )


def test_inputs_that_are_outputs_and_constants_that_are(tmp_path):
    constant = numpy_helper.from_array(np.arange(3, dtype="f4"), "c")
    path = save(
        tmp_path,
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", "FP32", [3])],
        [("y", "FP32", [3]), ("c", "FP32", [3])],
        [constant],
    )
    plan = plan_of(path, [("x", "FP32", (3,))], [("y", "FP32", (3,)), ("c", "FP32", (3,))])
    same(plan, [SomeWork({"x": np.arange(3, dtype="f4") + i}, wanted=(0, 1)) for i in range(5)])


def test_a_shape_that_comes_again_is_bound(tmp_path):
    same(
        doubling(tmp_path),
        [some(rows) for _ in range(4) for rows in (1, 2)],
        "tests.support.worker_stand_ins:tells_bound",
    )
    assert "2 shapes bound" in (tmp_path / "bound").read_text()


def test_batches_larger_than_all_before_and_small_again(tmp_path):
    plan = doubling(tmp_path)
    same(plan, [some(rows) for rows in (1, 200_000, 1, 3_000_000, 2)])


def test_a_model_that_fails_says_what_it_says_here_and_goes_on(tmp_path):
    path = save(
        tmp_path,
        [helper.make_node("Gather", ["t", "x"], ["y"])],
        [("x", "INT64", ["N"])],
        [("y", "FP32", ["N"])],
        [numpy_helper.from_array(np.arange(5, dtype="f4"), "t")],
    )
    plan = plan_of(path, [("x", "INT64", (-1,))], [("y", "FP32", (-1,))], batch=8)
    good = np.array([1, 2])
    bad = np.array([1, 99])
    with pytest.raises(ModelFailed) as expected:
        in_process(plan).run({"x": bad}, (0,), 2)

    async def run():
        async with open_workers(plan) as (workers, events):
            (instance,) = workers.instances
            for repeat in range(6):  # unbound and bound
                with pytest.raises(ModelFailed) as failure:
                    await over(instance, SomeWork({"x": bad}, 2))
                assert str(failure.value) == str(expected.value)
                assert [
                    array.tolist() for array in await over(instance, SomeWork({"x": good}, 2))
                ] == [[1, 2]], repeat
            with pytest.raises(ModelFailed, match="its first axis is not a batch axis"):
                await over(instance, SomeWork({"x": good}, 3))
            assert [event.fate.name for event in events] == ["OPENED"]

    asyncio.run(run())


def test_what_cannot_be_joined_or_sent_fails_alone(tmp_path):
    class Unjoinable(SomeWork):
        def collate(self, room=None):
            raise MemoryError("no room")

    async def run():
        async with open_workers(doubling(tmp_path)) as (workers, _):
            (instance,) = workers.instances
            with pytest.raises(ModelFailed, match="no room"):
                await over(instance, Unjoinable({}))
            huge = np.broadcast_to(np.float32(1), (1 << 29, 4))
            with pytest.raises(ModelFailed, match="takes more than the 4096 MiB"):
                await over(instance, SomeWork({"x": huge}, 1 << 29))
            with pytest.raises(ModelFailed, match="no datatype"):
                await over(instance, SomeWork({"x": np.ones((1, 4), "c8")}, 1))
            assert await over(instance, some())

    asyncio.run(run())
