"""A constant, a function or a remembered answer stands in for a version.

Its answer has the form that the version's would have.
"""

import asyncio
import gc
import logging
import math
import sys
import threading
import time
import types
import weakref

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ModelFailed
from gateway.core.protection import FallbackLink
from gateway.serving.policies.fallback.chain import with_fallback
from gateway.serving.policies.fallback.fallback import LinkFailed
from gateway.serving.policies.fallback.links import ConstantAnswer, FunctionAnswer
from gateway.serving.policies.fallback.output_tensors import output_tensor
from tests.support.fallback_parts import (
    ByHand,
    CatalogueResolver,
    Inside,
    X,
    Y,
    request,
    spec,
    version_plan,
)


def constant(values, outputs, **plan):
    plan = version_plan(outputs=outputs, **plan)
    return plan, ConstantAnswer(plan, FallbackLink(constant=values))


def answer(link, asked):
    return asyncio.run(link.answer(asked))


@given(st.integers(0, 40))
def test_a_constant_is_given_for_every_row_of_the_outputs_asked_for(rows):
    outputs = (
        spec("y"),
        spec("label", (-1,), "BYTES"),
        spec("ok", (-1, 1), "BOOL"),
        spec("n", (-1, -1, 2), "INT64"),
    )
    plan, link = constant(
        {"y": [1, 2.5], "label": "none", "ok": [True], "n": [[1, 2**62]]}, outputs
    )
    label, y, n = answer(link, request(plan, rows=rows, outputs=(1, 0, 3))).outputs
    assert label.tolist() == ["none"] * rows
    assert (y.dtype, y.tolist()) == (np.float32, [[1.0, 2.5]] * rows)
    assert (n.shape, n.tolist()) == ((rows, 1, 2), [[[1, 2**62]]] * rows)


def test_a_constant_is_the_whole_tensor_where_there_is_no_batch_axis():
    plan, link = constant({"y": [[1, 2], [3, 4]]}, (spec("y"),), rows=0)
    assert answer(link, request(plan, np.zeros((7, 2), "f4"))).outputs[0].tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_nobody_can_write_into_a_constant():
    plan, link = constant({"y": [1, 2]}, (spec("y"),))
    with pytest.raises(ValueError, match="read-only"):
        answer(link, request(plan, rows=2)).outputs[0][0, 0] = 9
    plan, link = constant({"y": [[1, 2]]}, (spec("y"),), rows=0)
    with pytest.raises(ValueError, match="read-only"):
        answer(link, request(plan)).outputs[0][0, 0] = 9


@pytest.mark.parametrize(
    ("values", "datatype", "message"),
    [
        ({"z": 1}, "FP32", "there is no output 'z', only y"),
        ({}, "FP32", "output 'y' is not given"),
        ({"y": ["a", "b"]}, "FP32", "output 'y' is FP32: 'a' is not a number"),
        ({"y": [True, 1]}, "FP32", "output 'y' is FP32: True is not a number"),
        ({"y": [1.5, 1]}, "INT8", "output 'y' is INT8: 1.5 is not a whole number"),
        ({"y": [1, 128]}, "INT8", "output 'y' is INT8: a number does not fit it"),
        ({"y": [-1, 0]}, "UINT64", "output 'y' is UINT64: a number does not fit it"),
        ({"y": [1e5, 0]}, "FP16", "output 'y' is FP16: a number does not fit it"),
        ({"y": [10**400, 0]}, "FP64", "output 'y' is FP64: int too large to convert to float"),
        ({"y": [0, 1]}, "BOOL", "output 'y' is BOOL: 0 is not true or false"),
        ({"y": [0, 1]}, "BYTES", "output 'y' is BYTES: 0 is not a string"),
        ({"y": ["\ud800", "a"]}, "BYTES", "output 'y' is BYTES: 'utf-8' codec can't encode"),
        ({"y": {"a": 1}}, "FP32", "output 'y' is FP32: {'a': 1} is not a number"),
        ({"y": None}, "FP32", "output 'y' is FP32: None is not a number"),
        (
            {"y": [[1, 2], [3]]},
            "FP32",
            "output 'y' is FP32: nested lists of one level are of different lengths",
        ),
        ({"y": [1, 2, 3]}, "FP32", r"output 'y' has shape \[1,3\], expected \[1,2\]"),
        ({"y": 1}, "FP32", r"output 'y' has shape \[1\], expected \[1,2\]"),
    ],
)
def test_a_constant_that_is_no_answer_is_refused_naming_the_output(values, datatype, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        constant(values, (spec("y", datatype=datatype),))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16"])
def test_numbers_of_a_constant_are_rounded_and_infinity_and_nan_may_be_meant(datatype):
    array = output_tensor([0.5, math.inf, math.nan, 3], spec("y", datatype=datatype))
    assert array.astype("f8")[:2].tolist() == [0.5, math.inf]
    assert np.isnan(array[2].astype("f8"))


@given(
    st.sampled_from(["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"]),
    st.lists(st.integers(-(2**65), 2**65), min_size=1),
)
def test_whole_numbers_keep_their_value_or_are_refused(datatype, numbers):
    try:
        array = output_tensor(numbers, spec("y", datatype=datatype))
    except ValueError:
        bits = int(datatype.lstrip("UINT"))
        signed = not datatype.startswith("U")
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        assert min(numbers) < low or max(numbers) > high
    else:
        assert array.tolist() == numbers


# Functions, as a serving process would import them.

_here = types.ModuleType("answers_of_tests")
sys.modules["answers_of_tests"] = _here


def function(call, outputs=(Y,), **plan):
    _here.call = call
    plan = version_plan(outputs=outputs, **plan)
    return plan, FunctionAnswer(plan, FallbackLink(function="answers_of_tests:call"))


def test_a_function_answers_from_arrays_it_may_write_into():
    def call(inputs):
        inputs["x"] += 1
        return {"y": inputs["x"], "n": [7] * len(inputs["x"])}

    plan, link = function(call, (spec("y"), spec("n", (-1,), "INT32")))
    asked = request(plan, np.zeros((3, 2), "f4"))
    asked.inputs[0].setflags(write=False)
    found = answer(link, asked)
    assert found.outputs[0].tolist() == [[1, 1]] * 3
    assert (found.outputs[1].dtype, found.outputs[1].tolist()) == (np.int32, [7, 7, 7])
    assert found.parameters == {"served_by": "function answers_of_tests:call"}
    assert asked.inputs[0].max() == 0


def test_a_function_is_called_off_the_loop_and_a_request_driven_by_hand_may_wait_for_it():
    called_in = []

    def call(inputs):
        called_in.append(threading.current_thread())
        return {"y": inputs["x"]}

    async def main():
        plan, link = function(call)
        found = await ByHand(link.answer(request(plan))).outcome()
        assert found.outputs[0].shape == (1, 2)
        assert called_in[0] is not threading.main_thread()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "it returned NoneType, not arrays by output name"),
        ({"z": 1}, "it returned 'z', which is no output"),
        ({}, "it did not return output 'y'"),
        ({"y": np.zeros((1, 3), "f4")}, r"output 'y' has shape \[1,3\], expected \[2,2\]"),
        ({"y": np.zeros((1, 2), "f4")}, r"output 'y' has shape \[1,2\], expected \[2,2\]"),
        ({"y": np.zeros((2, 2), "c8")}, "output 'y' is FP32: complex64 is none"),
        ({"y": np.full((2, 2), "a")}, "output 'y' is FP32: 'a' is not a number"),
        ({"y": np.full((2, 2), 1e300)}, "output 'y' is FP32: a number does not fit it"),
    ],
)
def test_what_a_function_returns_is_checked(returned, message):
    plan, link = function(lambda _: returned)
    with pytest.raises(LinkFailed, match=f"^{message}$"):
        answer(link, request(plan, rows=2))


@pytest.mark.parametrize(
    ("array", "datatype", "fits"),
    [
        (np.array([1.0, 2.0]), "FP32", True),
        (np.array([1, 2]), "FP16", True),
        (np.array([1.0, 2.0], ml_dtypes.bfloat16), "FP32", True),
        (np.array([1.0, 2.0], "f4"), "BF16", True),
        (np.array([1, 200]), "UINT8", True),
        (np.array([1, 300]), "UINT8", False),
        (np.array([-1, 3]), "UINT64", False),
        (np.array([1.0, 2.0]), "INT32", False),
        (np.array([True, False]), "INT32", False),
        (np.array([0, 1]), "BOOL", False),
        (np.array(["a", "b"]), "BYTES", True),
        (np.array([b"a", b"b"]), "BYTES", False),
        (np.array([[1], [2, 3]], dtype=object), "FP32", False),
    ],
)
def test_arrays_become_the_outputs_datatype_where_that_keeps_what_they_say(array, datatype, fits):
    if fits:
        assert output_tensor(array, spec("y", datatype=datatype)).tolist() == array.tolist()
    else:
        with pytest.raises(ValueError, match=f"^output 'y' is {datatype}: "):
            output_tensor(array, spec("y", datatype=datatype))


def test_a_function_that_raises_fails_the_link_and_its_traceback_is_logged(caplog):
    def call(_inputs):
        raise SystemExit("out of here")

    plan, link = function(call)
    fallback = with_fallback(
        Inside(ModelFailed("x")), version_plan(link.plan), CatalogueResolver(), time.monotonic
    )
    with pytest.raises(ModelFailed, match=r"^x$"):
        asyncio.run(fallback.predict(request(plan)))
    assert (
        "failed: it raised SystemExit: out of here; it was called because of failed: x"
        in caplog.text
    )
    assert caplog.records[0].exc_info[0] is SystemExit


def test_what_a_function_raised_is_let_go_without_the_collector():
    class Bad(Exception):
        pass

    raised = []

    def call(_inputs):
        error = Bad()
        raised.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    plan, link = function(call)

    async def main():
        with pytest.raises(LinkFailed):
            await link.answer(request(plan))

    logging.disable(logging.WARNING)
    gc.disable()
    try:
        asyncio.run(main())
        deadline = time.monotonic() + 5
        # its thread may not be quite over
        while raised[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert raised[0]() is None
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def test_a_function_that_hangs_is_not_waited_for_beyond_the_deadline_and_takes_few_threads():
    release = threading.Event()
    entered = threading.Semaphore(0)

    def call(inputs):
        entered.release()
        release.wait()
        return {"y": inputs["x"]}

    async def main():
        plan, link = function(call)
        drivers = [
            ByHand(link.answer(request(plan, deadline=time.monotonic() + 0.05))) for _ in range(4)
        ]
        for driver in drivers:
            with pytest.raises(LinkFailed, match="it did not return before the caller's deadline"):
                await driver.outcome()
        with pytest.raises(LinkFailed, match="4 calls of it run already"):
            await link.answer(request(plan))
        release.set()
        while link._running:
            await asyncio.sleep(0.001)
        assert (await link.answer(request(plan))).outputs[0].shape == (1, 2)

    asyncio.run(main())


def test_a_caller_that_leaves_leaves_the_function_running():
    release = threading.Event()

    def call(inputs):
        release.wait()
        return {"y": inputs["x"]}

    async def main():
        plan, link = function(call)
        driver = ByHand(link.answer(request(plan)))
        driver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driver.outcome()
        assert link._running == 1
        release.set()
        while link._running:
            await asyncio.sleep(0.001)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere_at_all:f",
            (
                "nowhere_at_all:f cannot be imported: ModuleNotFoundError: No "
                "module named 'nowhere_at_all'"
            ),
        ),
        ("math:nothing", "math:nothing cannot be imported: AttributeError"),
        ("math", "'math' is not of the form module:function"),
        ("math:pi", "math:pi is not a function"),
        ("asyncio:wait_for", "asyncio:wait_for is a coroutine function"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(path, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        FunctionAnswer(version_plan(), FallbackLink(function=path))


def test_a_module_that_exits_is_refused_and_nothing_else_ends(tmp_path, monkeypatch):
    (tmp_path / "module_that_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="module_that_exits:f cannot be imported: SystemExit: 3"):
        FunctionAnswer(version_plan(), FallbackLink(function="module_that_exits:f"))


def test_a_function_of_strings_gets_and_returns_strings():
    plan, link = function(
        lambda inputs: {"y": [[s.upper() for s in row] for row in inputs["x"]]},
        (spec("y", datatype="BYTES"),),
        inputs=(X,),
    )
    found = answer(link, request(plan, np.array([["a", "b"]], object)))
    assert found.outputs[0].tolist() == [["A", "B"]]
