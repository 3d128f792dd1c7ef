"""Outputs that are no answer are refused, and the refusal names their place.

The other requests of the batch are answered.
"""

import asyncio
import math
import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gateway.core.errors import ModelFailed, OutputRefused
from gateway.core.protection import OutputGuardPlan
from gateway.serving.policies.output_guard.output_guard import GuardedRunner, OutputGuard
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from tests.support.fallback_parts import batcher, request, spec, version_plan

DTYPES = {"FP16": "f2", "FP32": "f4", "FP64": "f8", "BF16": ml_dtypes.bfloat16}
INTEGERS = {"INT8": "i1", "UINT8": "u1", "INT32": "i4", "INT64": "i8", "UINT64": "u8"}


def guard(*outputs, rows=8, finite=(), **ranges):
    return OutputGuard(
        version_plan(outputs=outputs, rows=rows, guard=OutputGuardPlan(finite, ranges))
    )


def refuses(made, *outputs, wanted=None):
    return refused_row(made, *outputs, wanted=wanted) >= 0


def refused_row(made, *outputs, wanted=None):
    """The first row that is no answer, as the refusal names it; -1 where nothing is refused."""
    try:
        made.check(list(outputs), tuple(range(len(outputs))) if wanted is None else wanted)
    except OutputRefused as refusal:
        return int(re.search(r" in row (\d+), at ", str(refusal))[1])
    return -1


bounds = st.tuples(
    st.floats(-3, 3, width=16) | st.just(-math.inf),
    st.floats(-3, 3, width=16) | st.just(math.inf),
).filter(lambda pair: pair[0] <= pair[1])


@given(st.sampled_from(sorted(DTYPES)), bounds, st.booleans(), st.data())
def test_floating_point_outputs_are_judged_as_their_elements_one_by_one_would_be(
    datatype, limits, finite, data
):
    elements = st.floats(-4, 4, width=16) | st.sampled_from([math.nan, math.inf, -math.inf])
    array = data.draw(
        arrays(
            "f8", array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5), elements=elements
        )
    ).astype(DTYPES[datatype])
    made = guard(spec("y", (-1, -1), datatype), finite=("y",) if finite else (), y=limits)
    values = array.astype("f8")
    low, high = (float(np.asarray(limit).astype(DTYPES[datatype]).astype("f8")) for limit in limits)
    good = (values >= low) & (values <= high)
    if finite:
        good &= np.isfinite(values)
    assert refuses(made, array) == (not good.all())
    assert refused_row(made, array) == (-1 if good.all() else int(np.argwhere(~good)[0][0]))


@given(st.sampled_from(sorted(INTEGERS)), st.data())
def test_whole_numbers_are_judged_exactly_also_where_floats_would_round(datatype, data):
    info = np.iinfo(INTEGERS[datatype])
    limit = st.floats(float(info.min), float(info.max)) | st.sampled_from([-math.inf, math.inf])
    low, high = sorted(data.draw(st.tuples(limit, limit)))
    near = [
        int(b) + d
        for b in (low, high)
        if math.isfinite(b)
        for d in (-1, 0, 1)
        if info.min <= int(b) + d <= info.max
    ]
    numbers = data.draw(
        st.lists(
            st.sampled_from(near) | st.integers(info.min, info.max)
            if near
            else st.integers(info.min, info.max),
            min_size=1,
        )
    )
    try:
        made = guard(spec("y", (-1,), datatype), y=(low, high))
    except ValueError:
        assert not any(low <= number <= high for number in numbers)
        return
    assert refuses(made, np.array(numbers, INTEGERS[datatype])) == (
        not all(low <= number <= high for number in numbers)
    )


def test_the_text_says_what_stands_where():
    array = np.zeros((4, 3), "f4")
    array[2, 1] = math.nan
    with pytest.raises(
        OutputRefused,
        match=r"^output 'y' of 'm' version 1 holds NaN in row 2, at \[2, "
        r"1\]; finite numbers are wanted$",
    ):
        guard(spec("y", (-1, 3)), finite=("y",)).check([array], (0,))
    array[2, 1] = 1.5
    with pytest.raises(
        OutputRefused,
        match=r"^output 'y' of 'm' version 1 holds 1\.5 in row 2, at \[2, 1\]; 0 to 1 is wanted$",
    ):
        guard(spec("y", (-1, 3)), y=(0, 1)).check([array], (0,))
    with pytest.raises(OutputRefused, match=r"holds 1\.5 at \[2, 1\]; 0 to 1 is wanted$"):
        guard(spec("y", (-1, 3)), y=(0, 1), rows=0).check([array], (0,))
    with pytest.raises(OutputRefused, match=r"holds -1 at \[\]; 0 to inf is wanted$"):
        guard(spec("y", (), "INT8"), y=(0, math.inf), rows=0).check([np.array(-1, "i1")], (0,))


def test_a_bound_means_the_nearest_number_of_the_datatype():
    for datatype, dtype in DTYPES.items():
        made = guard(spec("y", (-1,), datatype), y=(0.1, 0.3))
        assert not refuses(made, np.array([0.1, 0.3]).astype(dtype))


def test_infinity_is_beyond_every_finite_bound():
    made = guard(spec("y", (-1,), "FP16"), y=(-1e9, 1e9))
    assert not refuses(made, np.array([65504, -65504], "f2"))
    assert refuses(made, np.array([math.inf], "f2"))


def test_only_the_outputs_that_are_named_and_were_asked_for_are_looked_at():
    made = guard(spec("a"), spec("b"), finite=("b",))
    good = np.zeros((2, 2), "f4")
    bad = np.full((2, 2), math.nan, "f4")
    assert not refuses(made, bad, good)
    assert refuses(made, good, bad)
    assert not refuses(made, bad, wanted=(0,))
    assert refuses(made, bad, good, wanted=(1, 0))
    assert refused_row(made, bad, good, wanted=(1, 0)) == 0
    assert made.watches
    assert not guard(spec("a")).watches


@pytest.mark.parametrize(
    ("output", "plan", "message"),
    [
        (spec("y"), {"finite": ("z",)}, "there is no output 'z', only y"),
        (spec("y"), {"z": (0, 1)}, "there is no output 'z', only y"),
        (
            spec("y", datatype="INT8"),
            {"finite": ("y",)},
            "output 'y' is INT8, which is always finite",
        ),
        (spec("y", datatype="BYTES"), {"finite": ("y",)}, "output 'y' is BYTES, which has no NaN"),
        (spec("y", datatype="BOOL"), {"y": (0, 1)}, "output 'y' is BOOL, which has no range"),
        (
            spec("y"),
            {"y": (1, 0)},
            "output 'y' is FP32, and no such number is in the range from 1 to 0",
        ),
        (
            spec("y"),
            {"y": (math.nan, 0)},
            "output 'y' is FP32, and no such number is in the range from nan to 0",
        ),
        (
            spec("y", datatype="UINT8"),
            {"y": (-9, -1)},
            "output 'y' is UINT8, and no such number is in the range from -9 to -1",
        ),
        (
            spec("y", datatype="INT64"),
            {"y": (0.2, 0.8)},
            "output 'y' is INT64, and no such number is in the range from 0.2 to 0.8",
        ),
        (
            spec("y", datatype="FP16"),
            {"y": (1e6, 1e7)},
            r"output 'y' is FP16, and no such number is in the range from 1e\+06 to 1e\+07",
        ),
    ],
)
def test_a_guard_that_cannot_be_is_refused_naming_the_output(output, plan, message):
    with pytest.raises(ValueError, match=f"^output_guard: {message}$"):
        guard(output, **plan)


class Root:
    """The square root: NaN where the input is negative."""

    def __init__(self):
        self.runs = 0

    def run(self, feed, wanted, rows):
        self.runs += 1
        with np.errstate(invalid="ignore"):
            return [np.sqrt(feed["x"])]


def test_a_guarded_runner_runs_what_is_inside_and_refuses_what_it_should_not_have_said():
    made = GuardedRunner(Root(), guard(spec("y"), finite=("y",)))
    assert made.run({"x": np.full((2, 2), 4, "f4")}, (0,), 2)[0].tolist() == [[2, 2]] * 2
    with pytest.raises(OutputRefused, match="row 1"):
        made.run({"x": np.array([[1, 1], [-1, 1]], "f4")}, (0,), 2)


def test_the_batch_mates_of_a_request_whose_answer_is_refused_are_answered():
    plan = version_plan(guard=OutputGuardPlan(finite=("y",)), rows=16)

    async def main():
        async with ThreadWorkers(1) as workers:
            made = batcher(plan, GuardedRunner(Root(), OutputGuard(plan)), workers)
            asked = [request(plan, np.full((1, 2), -1 if i == 5 else i, "f4")) for i in range(12)]
            answers = await asyncio.gather(
                *(made.predict(r) for r in asked), return_exceptions=True
            )
        assert isinstance(answers[5], OutputRefused)
        assert "row 0" in str(answers[5])
        others = [i for i in range(12) if i != 5]
        assert np.allclose([answers[i].outputs[0][0, 0] for i in others], np.sqrt(others))

    asyncio.run(main())


class Noted:
    """A work of rows, which keeps what becomes of it."""

    rows = 2
    wanted = (0,)
    deadline = math.inf
    input_bytes = 8

    def __init__(self):
        self.outputs = None
        self.error = None

    def collate(self):
        return {}

    def finish(self, outputs):
        self.outputs = outputs

    def fail(self, error):
        self.error = error


def test_works_that_were_run_elsewhere_are_finished_or_failed():
    made = guard(spec("y"), finite=("y",))
    good = Noted()
    bad = Noted()
    made.finish(good, [np.zeros((2, 2), "f4")])
    made.finish(bad, [np.full((2, 2), math.inf, "f4")])
    assert good.error is None
    assert len(good.outputs) == 1
    assert isinstance(bad.error, ModelFailed)
    assert bad.outputs is None
