"""Inspection in processes of its own: a model that ends, hangs or breaks one is given a reason."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.inspection.cache import FindingsCache
from gateway.control.inspection.examine import examine
from gateway.control.inspection.inspector import Inspector
from gateway.control.inspection.job import InspectionJob
from gateway.core.plan import GraphTensor, WarmupInput
from tests.support.inspection_models import (
    F32,
    STRING,
    dies_opening,
    dies_running,
    embedding,
    endless,
    minus_mean,
    mlp,
    model,
    node,
    save,
    tensor,
)

x86 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the division that traps there does not trap elsewhere"
)


def job(path, **options):
    return InspectionJob(str(path), hashlib.sha256(Path(path).read_bytes()).hexdigest(), **options)


def inspected(*jobs, cache=None, **options):
    """The findings of jobs that are asked for at the same time."""

    async def run():
        async with Inspector(cache or FindingsCache(None), **options) as inspector:
            return await asyncio.gather(*(inspector.inspect(one) for one in jobs))

    return asyncio.run(run())


def test_a_model_is_opened_tried_and_measured(tmp_path):
    (found,) = inspected(job(save(tmp_path, mlp())))

    assert found.error == ""
    assert [(tensor.name, tensor.onnx_type, tensor.shape) for tensor in found.inputs] == [
        ("x", "tensor(float)", ("N", 8))
    ]
    assert found.batchable
    assert list(found.cost_us) == [1, 2, 4, 8, 16, 32, 64]
    assert found.memory_bytes > 0


def test_a_model_that_does_not_batch_has_the_cost_of_one_request(tmp_path):
    (found,) = inspected(job(save(tmp_path, minus_mean())))

    assert not found.batchable
    assert list(found.cost_us) == [1]


def test_a_configured_batch_size_is_measured_even_against_the_evidence(tmp_path):
    against, beyond = inspected(
        job(save(tmp_path, minus_mean(), "mean.onnx"), max_batch_size=8),
        job(save(tmp_path, mlp(), "mlp.onnx"), max_batch_size=200),
    )

    assert (against.batchable, list(against.cost_us)) == (False, [1, 2, 4, 8])
    assert list(beyond.cost_us) == [1, 2, 4, 8, 16, 32, 64, 128, 200]


def test_costs_are_left_out_where_nobody_asks_for_them(tmp_path):
    (found,) = inspected(job(save(tmp_path, mlp()), measure=False))

    assert found.batchable
    assert found.cost_us == {}


@x86
def test_a_file_that_kills_the_process_opening_it_is_an_error_and_others_are_inspected(tmp_path):
    good = [job(save(tmp_path, mlp(seed), f"{seed}.onnx")) for seed in range(4)]
    bad = job(save(tmp_path, dies_opening(), "bad.onnx"))

    *before, killed, after = inspected(*good[:3], bad, good[3], max_children=1)

    assert killed.error == "the process that opened the model died with SIGFPE while opening it"
    assert all(found.batchable for found in (*before, after))


@x86
def test_a_model_that_kills_the_process_running_it_is_an_error(tmp_path):
    (found,) = inspected(job(save(tmp_path, dies_running())))

    assert found.error == "the process that opened the model died with SIGFPE while running it"


def test_a_model_that_never_ends_is_killed_when_its_time_is_over(tmp_path):
    started = time.monotonic()

    hung, good = inspected(
        job(save(tmp_path, endless(), "endless.onnx"), timeout_s=1.5),
        job(save(tmp_path, mlp(), "good.onnx")),
        max_children=1,
    )

    assert hung.error.startswith(
        "the process that opened the model was still running it after 1.5 s and was killed"
    )
    assert good.batchable
    assert time.monotonic() - started < 30


def test_a_process_killed_from_outside_between_jobs_costs_nobody_anything(tmp_path):
    first, second = (job(save(tmp_path, mlp(seed), f"{seed}.onnx")) for seed in range(2))

    async def run():
        async with Inspector(FindingsCache(None), max_children=1, idle_s=60) as inspector:
            await inspector.inspect(first)
            (child,) = children()
            os.kill(child, signal.SIGKILL)
            return await inspector.inspect(second)

    assert asyncio.run(run()).batchable


def test_a_fresh_process_killed_while_it_works_is_an_error_that_names_memory(tmp_path):
    async def run():
        async with Inspector(FindingsCache(None), max_children=1) as inspector:
            asked = asyncio.create_task(inspector.inspect(job(save(tmp_path, endless()))))
            (child,) = await until(children)
            await until(lambda: busy(child))
            os.kill(child, signal.SIGKILL)
            return await asked

    assert asyncio.run(run()).error == (
        "the process that opened the model died with SIGKILL (the machine may have run "
        "out of memory) while running it"
    )


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x00" * 1000, mlp().SerializeToString()[:-200]]
)
def test_a_file_that_is_no_model_is_an_error_in_onnxruntimes_words(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)

    (found,) = inspected(job(tmp_path / "model.onnx"))

    assert found.error.startswith("ONNX Runtime ")
    assert "cannot open the model" in found.error


def test_external_data_that_leaves_the_folder_or_is_missing_is_an_error(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 16)
    errors = []
    for place in ("../secret.bin", str(tmp_path / "secret.bin"), "missing.bin"):
        weight = TensorProto(name="b", dims=[4], data_type=F32, data_location=TensorProto.EXTERNAL)
        weight.external_data.add(key="location", value=place)
        proto = model(
            [node("Add", ["x", "b"], ["y"])],
            [tensor("x", F32, ["N", 4])],
            [tensor("y", F32, ["N", 4])],
            [weight],
        )
        (tmp_path / "in").mkdir(exist_ok=True)
        errors.append(examine(job(save(tmp_path / "in", proto))).error)

    assert all("External data path validation failed" in error for error in errors)


UNSERVABLE = {
    "sequence": (
        lambda: model(
            [node("SequenceConstruct", ["x"], ["y"])],
            [tensor("x", F32, ["N"])],
            [helper.make_tensor_sequence_value_info("y", F32, ["N"])],
        ),
        "output 'y' is seq(tensor(float)), and only tensors are served",
    ),
    "optional": (
        lambda: model(
            [node("OptionalGetElement", ["x"], ["y"])],
            [
                helper.make_value_info(
                    "x", helper.make_optional_type_proto(helper.make_tensor_type_proto(F32, ["N"]))
                )
            ],
            [tensor("y", F32, ["N"])],
        ),
        "input 'x' is optional(tensor(float)), and only tensors are served",
    ),
    "datatype": (
        lambda: model(
            [node("Identity", ["x"], ["y"])],
            [tensor("x", TensorProto.FLOAT8E4M3FN, ["N"])],
            [tensor("y", TensorProto.FLOAT8E4M3FN, ["N"])],
        ),
        "input 'x' is tensor(float8e4m3fn), which the protocol has no datatype for",
    ),
    "nothing": (
        lambda: model([node("Identity", ["x"], ["y"])], [tensor("x", F32, ["N"])], []),
        "the graph has no outputs",
    ),
}


@pytest.mark.parametrize("name", UNSERVABLE)
def test_what_the_protocol_cannot_carry_is_an_error_that_says_what_to_do(tmp_path, name):
    build, error = UNSERVABLE[name]

    assert examine(job(save(tmp_path, build()))).error.startswith(error)


def test_the_tensor_before_zipmap_is_what_a_classifier_answers():
    datasets = pytest.importorskip("onnxruntime.datasets")

    found = examine(job(datasets.get_example("logreg_iris.onnx")))

    assert (found.error, found.cut_zipmap) == ("", True)
    assert found.outputs[1] == GraphTensor("probabilities", "tensor(float)", (None, 3))


def test_an_output_declared_with_one_row_has_as_many_as_are_asked(tmp_path):
    """As onnxmltools declares the labels of LightGBM."""
    proto = model(
        [node("ReduceSum", ["x"], ["y"], keepdims=0, axes=[1])],
        [tensor("x", F32, ["N", 2])],
        [tensor("y", F32, [1])],
        opset=11,
    )

    found = examine(job(save(tmp_path, proto)))

    assert found.batchable
    assert found.outputs[0].shape == (None,)


def test_an_output_that_has_one_row_whatever_is_asked_is_not_batched(tmp_path):
    proto = model(
        [node("ReduceSum", ["x"], ["y"], keepdims=1, axes=[0])],
        [tensor("x", F32, ["N", 2])],
        [tensor("y", F32, [1, 2])],
        opset=11,
    )

    found = examine(job(save(tmp_path, proto)))

    assert not found.batchable
    assert found.outputs[0].shape == (1, 2)


def test_a_reference_sample_that_does_not_fit_is_a_warning(tmp_path):
    np.savez(tmp_path / "reference.npz", x=np.ones((2, 9), np.float32))

    found = examine(job(save(tmp_path, mlp()), reference=str(tmp_path / "reference.npz")))

    assert found.batchable
    assert found.warnings == (
        "the reference sample's 'x' is not used: axis 1 has size 9, the model's input has 8",
    )


def test_a_configured_warm_up_stands_in_for_a_reference_sample(tmp_path):
    path = save(tmp_path, embedding())
    warmup = (WarmupInput("ids", "INT64", (77,)),)

    assert "the reference sample's values" in examine(job(path, warmup=warmup)).evidence
    assert "the reference sample's values" not in examine(job(path)).evidence


def test_equal_jobs_at_one_time_share_one_inspection_and_later_ones_the_cache(tmp_path):
    path = save(tmp_path, mlp())
    cache = FindingsCache(tmp_path / "cache")

    first = inspected(*[job(path)] * 20, cache=cache)

    assert len({id(found) for found in first}) == 1
    assert inspected(job(path, measure=False), cache=cache) == [first[0]]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_caller_that_leaves_does_not_take_the_inspection_along(tmp_path):
    path = save(tmp_path, mlp())

    async def run():
        async with Inspector(FindingsCache(None)) as inspector:
            leaving, staying = (asyncio.create_task(inspector.inspect(job(path))) for _ in range(2))
            await until(children)
            leaving.cancel()
            found = await staying
            return found, leaving.cancelled()

    found, left = asyncio.run(run())

    assert found.batchable
    assert left


def test_processes_end_when_idle_and_with_the_inspector(tmp_path):
    async def run():
        async with Inspector(FindingsCache(None), idle_s=0.05) as inspector:
            await inspector.inspect(job(save(tmp_path, mlp())))
            await until(lambda: not children())
            asked = asyncio.create_task(
                inspector.inspect(job(save(tmp_path, endless(), "endless.onnx")))
            )
            await until(children)
        assert not children()
        return asked

    assert asyncio.run(run()).cancelled()


def test_progress_counts_every_job(tmp_path):
    seen = []
    jobs = [job(save(tmp_path, mlp(seed), f"{seed}.onnx")) for seed in range(5)]

    inspected(*jobs, progress=lambda done, asked: seen.append((done, asked)))

    assert seen == [(done, 5) for done in range(1, 6)]


def test_a_hundred_small_models_are_inspected_in_one_process_in_a_second(tmp_path):
    jobs = [job(save(tmp_path, mlp(seed), f"{seed}.onnx")) for seed in range(100)]

    async def run():
        async with Inspector(FindingsCache(None), max_children=1) as inspector:
            await inspector.inspect(job(save(tmp_path, mlp(1000))))
            started = time.perf_counter()
            found = await asyncio.gather(*(inspector.inspect(one) for one in jobs))
            return found, time.perf_counter() - started

    found, seconds = asyncio.run(run())
    print(f"{seconds * 10:.2f} ms a model")

    assert sum(one.batchable for one in found) == 100
    assert seconds < 2.0  # 20 ms each on a machine that is busy otherwise; alone it is 2 to 3 ms


def test_the_child_imports_nothing_of_the_wire():
    program = (
        "import sys, gateway.control.inspection.inspection_main; print([m for m in ('grpc', "
        "'google.protobuf', 'asyncio', 'aiohttp') if m in sys.modules])"
    )

    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def test_the_child_leaves_no_core_is_expendable_and_dies_with_its_parent(tmp_path):
    program = f"""
import asyncio, os
from gateway.control.inspection.job import InspectionJob
from gateway.control.inspection.process import InspectingProcess
async def main():
    process = await InspectingProcess.start()
    asked = asyncio.create_task(process.inspect(InspectionJob({save(tmp_path, endless())!r}, "")))
    print(process._process.pid, flush=True)
    await asked
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait(lambda: busy(child))
        limits = Path(f"/proc/{child}/limits").read_text()
        score = int(Path(f"/proc/{child}/oom_score_adj").read_text())
        parent.kill()
    wait(lambda: not alive(child))

    assert (
        next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[
            4
        ]
        == "0"
    )
    assert score == 900


def test_strings_are_inspected(tmp_path):
    proto = model(
        [node("Identity", ["x"], ["y"])],
        [tensor("x", STRING, ["N", 2])],
        [tensor("y", STRING, ["N", 2])],
    )

    assert examine(job(save(tmp_path, proto))).batchable


def children():
    """The children of this process that run the inspection's program."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if alive(int(pid)) and b"inspection_main" in command(pid)]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def busy(pid):
    """Whether the process has used more processor time than a start takes.

    It is in the endless loop then.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 1.0


def wait(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until(condition, seconds=30.0):
    """Waits until a condition on another process holds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return value


def test_a_classifier_that_answers_random_rows_alike_is_tried_on_the_rows_it_holds(tmp_path):
    """As Gaussian classifiers do far away from their means."""
    means = numpy_helper.from_array(np.array([[900, 1, 5], [20, 800, 3], [1, 2, 950]], "f4"), "m")
    proto = model(
        [
            node("Unsqueeze", ["x", "one"], ["rows"]),
            node("Sub", ["rows", "m"], ["apart"]),
            node("ReduceL2", ["apart", "two"], ["far"], keepdims=0),
            node("Clip", ["far", "", "one_float"], ["near"]),
            node("ArgMin", ["near"], ["y"], axis=1, keepdims=0),
        ],
        [tensor("x", F32, ["N", 3])],
        [tensor("y", TensorProto.INT64, ["N"]), tensor("near", F32, ["N", 3])],
        [
            means,
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array([2]), "two"),
            numpy_helper.from_array(np.array(1, "f4"), "one_float"),
        ],
    )

    found = examine(job(save(tmp_path, proto)))

    assert found.batchable
    assert "values that the graph holds" in found.evidence
