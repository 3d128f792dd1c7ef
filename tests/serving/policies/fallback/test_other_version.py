"""Another version answers in a version's place where its interface is the same."""

import asyncio
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ModelFailed, ModelNotFound, Unavailable
from gateway.core.protection import FallbackLink
from gateway.core.request import Prediction
from gateway.serving.batching.splitter import Splitter
from gateway.serving.policies.fallback.chain import with_fallback
from gateway.serving.policies.fallback.fallback import LinkFailed
from gateway.serving.policies.fallback.other_version import (
    OtherVersion,
    Translation,
    interface_fault,
)
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from tests.support.fallback_parts import (
    CatalogueResolver,
    Inside,
    X,
    Y,
    batcher,
    live,
    request,
    spec,
    version_plan,
)


def ask(asked_plan, link, resolver, asked=None):
    return asyncio.run(
        OtherVersion(asked_plan, link, resolver).answer(asked or request(asked_plan))
    )


SMALL = FallbackLink(model="small")


def test_another_version_of_the_model_answers():
    plan = version_plan(version=3)
    resolver = CatalogueResolver(
        live(version_plan(version=2), Inside(parameters={"kept": 1})),
        live(version_plan(version=1), Inside()),
    )
    answer = ask(plan, FallbackLink(version=2), resolver, request(plan, np.ones((1, 2), "f4")))
    assert answer.outputs[0].tolist() == [[2, 2]]
    assert answer.parameters == {"kept": 1, "served_by": "version 2"}
    assert ask(plan, FallbackLink(version=1), resolver).parameters == {"served_by": "version 1"}
    assert ask(plan, FallbackLink(version=-1), resolver).parameters["served_by"] == "version 2"


def test_the_newest_other_version_is_not_the_one_that_failed():
    plan = version_plan(version=3)
    resolver = CatalogueResolver(live(plan, Inside()), live(version_plan(version=1), Inside()))
    assert ask(plan, FallbackLink(version=-1), resolver).parameters["served_by"] == "version 1"
    resolver.catalogue.swap([], [("m", 1)])
    with pytest.raises(Unavailable):
        ask(plan, FallbackLink(version=-1), resolver)


def test_another_model_answers_with_its_newest_version():
    resolver = CatalogueResolver(
        *(live(version_plan(model="small", version=v), Inside()) for v in (1, 4))
    )
    assert ask(version_plan(), SMALL, resolver).parameters == {"served_by": "model small version 4"}


def test_what_is_not_live_fails_the_link():
    with pytest.raises(ModelNotFound):
        ask(version_plan(), FallbackLink(version=2), CatalogueResolver())
    with pytest.raises(LinkFailed, match="it is the version that failed"):
        ask(
            version_plan(),
            FallbackLink(version=1),
            CatalogueResolver(live(version_plan(), Inside())),
        )


A = spec("a", (-1, 2))
B = spec("b", (-1, 3), "INT64")
C = spec("c", (-1,), "BOOL", optional=True)


@pytest.mark.parametrize(
    ("asked", "other", "fault"),
    [
        ({}, {}, ""),
        ({"inputs": (A, B)}, {"inputs": (B, A, C)}, ""),
        ({"inputs": (A, C)}, {"inputs": (A,)}, ""),
        ({"inputs": (A, B)}, {"inputs": (A,)}, "it has no input 'b'"),
        ({"inputs": (A,)}, {"inputs": (A, B)}, "it wants input 'b'"),
        (
            {"inputs": (A,)},
            {"inputs": (spec("a", (-1, 2), "FP64"),)},
            "input 'a' is FP64 there, not FP32",
        ),
        (
            {"inputs": (A,)},
            {"inputs": (spec("a", (-1, 3)),)},
            "input 'a' is [-1,3] there, not [-1,2]",
        ),
        (
            {"inputs": (A,)},
            {"inputs": (spec("a", (-1, 2, 1)),)},
            "input 'a' is [-1,2,1] there, not [-1,2]",
        ),
        ({"inputs": (A,)}, {"inputs": (spec("a", (-1, -1)),)}, ""),
        ({"inputs": (A,)}, {"inputs": (spec("a", ()),)}, ""),
        ({"outputs": (A, B)}, {"outputs": (B,)}, ""),
        ({"outputs": (A,)}, {"outputs": (B,)}, "it has no output 'a'"),
        (
            {"outputs": (A, B)},
            {"outputs": (B, spec("a", (-1, 2), "BF16"))},
            "output 'a' is BF16 there, not FP32",
        ),
        (
            {"outputs": (A,)},
            {"outputs": (spec("a", (-1, 4)),)},
            "output 'a' is [-1,4] there, not [-1,2]",
        ),
    ],
)
def test_interfaces_are_compared(asked, other, fault):
    assert interface_fault(version_plan(**asked), version_plan(version=2, **other)) == fault


def test_another_interface_fails_the_link():
    resolver = CatalogueResolver(
        live(version_plan(model="small", inputs=(spec("x", (-1, 3)),)), Inside())
    )
    with pytest.raises(
        LinkFailed, match=r"its interface is another: input 'x' is \[-1,3\] there, not \[-1,2\]"
    ):
        ask(version_plan(), SMALL, resolver)


@given(
    st.permutations([A, B, C]),
    st.permutations([0, 1, 2]),
    st.lists(st.sampled_from([0, 1, 2]), unique=True),
    st.integers(0, 8),
)
def test_inputs_go_in_the_others_order_and_outputs_come_back_in_the_callers(
    others, place, wanted, rows
):
    outputs = [spec(name, (-1,), "INT64") for name in "pqr"]
    asked = version_plan(inputs=(A, B, C), outputs=tuple(outputs))
    other = version_plan(version=2, inputs=tuple(others), outputs=tuple(outputs[i] for i in place))

    class NamesItsOutputs(Inside):
        async def predict(self, translated):
            for name, array in zip(translated.form.names, translated.inputs, strict=True):
                found = next(s for s in other.inputs if s.name == name)
                assert array.shape == (rows, *found.shape[1:])
            assert translated.form.names == tuple(s.name for s in other.inputs)
            assert translated.form.key == request(other, rows=rows).form.key
            assert translated.form.rows == rows
            return Prediction(
                tuple(np.full(rows, ord(other.outputs[i].name)) for i in translated.form.outputs)
            )

    found = ask(
        asked,
        FallbackLink(version=2),
        CatalogueResolver(live(other, NamesItsOutputs())),
        request(asked, rows=rows, outputs=tuple(wanted)),
    )
    assert [set(a.tolist()) for a in found.outputs] == [
        {ord("pqr"[i])} if rows else set() for i in wanted
    ]


def test_sizes_that_are_free_are_judged_in_the_request():
    free = version_plan(inputs=(spec("x", (-1, -1)),))
    resolver = CatalogueResolver(live(version_plan(version=2), Inside()))
    assert (
        ask(
            free, FallbackLink(version=2), resolver, request(free, np.zeros((1, 2), "f4"))
        ).parameters["served_by"]
        == "version 2"
    )
    with pytest.raises(LinkFailed, match=r"it takes input 'x' as \[-1,2\], not as \[1,3\]"):
        ask(free, FallbackLink(version=2), resolver, request(free, np.zeros((1, 3), "f4")))


def test_an_output_that_the_other_has_not_fails_only_requests_that_ask_for_it():
    plan = version_plan(outputs=(Y, spec("z")))
    resolver = CatalogueResolver(live(version_plan(version=2), Inside()))
    with pytest.raises(LinkFailed, match="it has no output 'z'"):
        ask(plan, FallbackLink(version=2), resolver)
    assert (
        len(ask(plan, FallbackLink(version=2), resolver, request(plan, outputs=(0,))).outputs) == 1
    )


def test_an_optional_input_that_the_other_wants_or_has_not_fails_only_requests_without_or_with_it():
    optional = spec("c", (-1,), "BOOL", optional=True)
    wants = version_plan(version=2, inputs=(X, spec("c", (-1,), "BOOL")))
    lacks = version_plan(version=3, inputs=(X,))
    plan = version_plan(inputs=(X, optional))
    resolver = CatalogueResolver(live(wants, Inside()), live(lacks, Inside()))
    without = request(plan, np.zeros((1, 2), "f4"), names=("x",))
    assert ask(plan, FallbackLink(version=2), resolver).parameters
    with pytest.raises(LinkFailed, match="it wants input 'c', which the request has not"):
        ask(plan, FallbackLink(version=2), resolver, without)
    assert ask(plan, FallbackLink(version=3), resolver, without).parameters
    with pytest.raises(LinkFailed, match="it has no input 'c'"):
        ask(plan, FallbackLink(version=3), resolver)


def test_more_rows_than_the_other_takes_fail_the_link_unless_it_splits():
    plan = version_plan(rows=8)
    asked = request(version_plan(rows=8), rows=5)
    with pytest.raises(LinkFailed, match="it takes at most 4 rows, the request has 5"):
        ask(
            plan,
            FallbackLink(version=2),
            CatalogueResolver(live(version_plan(version=2, rows=4), Inside())),
            asked,
        )
    splits = version_plan(version=2, rows=4, splits=True)
    assert (
        len(
            ask(
                plan,
                FallbackLink(version=2),
                CatalogueResolver(live(splits, Splitter(Inside(), 4))),
                asked,
            ).outputs[0]
        )
        == 5
    )


def test_a_version_without_batch_axis_and_one_with_stand_in_for_each_other():
    batched = version_plan(version=1)
    whole = version_plan(version=2, rows=0)
    resolver = CatalogueResolver(live(batched, Inside()), live(whole, Inside()))
    for plan, other in ((batched, 2), (whole, 1)):
        assert (
            ask(plan, FallbackLink(version=other), resolver, request(plan, np.ones((3, 2), "f4")))
            .outputs[0]
            .tolist()
            == [[2, 2]] * 3
        )


def test_an_answer_of_another_shape_fails_the_link():
    class Odd(Inside):
        async def predict(self, asked):
            return Prediction((np.zeros((2, 2), "f4"),))

    other = version_plan(version=2, rows=0)
    with pytest.raises(LinkFailed, match=r"output 'y' has shape \[2,2\], expected \[1,2\]"):
        ask(version_plan(), FallbackLink(version=2), CatalogueResolver(live(other, Odd())))


def test_what_is_remembered_of_forms_is_bounded_and_never_mistaken():
    plan = version_plan(outputs=(Y, spec("z")))
    translation = Translation(plan, version_plan(version=2, outputs=(spec("z"), Y)))
    for i in range(1000):  # each form is let go, so that the next may get its address
        wanted = ((0,), (1,), (0, 1), (1, 0))[i % 4]
        assert translation.request(request(plan, outputs=wanted)).form.outputs == tuple(
            1 - w for w in wanted
        )
    assert len(translation._forms) <= 128


def test_a_fallback_goes_the_real_way_down_beside_the_others_own_requests():
    class Doubler:
        def __init__(self):
            self.rows = []

        def run(self, feed, wanted, rows):
            self.rows.append(rows)
            return [feed["x"] * 2]

    class Fails:
        def run(self, feed, wanted, rows):
            raise ModelFailed("broken")

    async def main():
        async with ThreadWorkers(1) as workers:
            runner = Doubler()
            plan = version_plan(FallbackLink(version=2))
            other = version_plan(version=2)
            resolver = CatalogueResolver(live(other, batcher(other, runner, workers)))
            stack = with_fallback(batcher(plan, Fails(), workers), plan, resolver, time.monotonic)
            asked = [
                request(p, np.full((1, 2), i, "f4"), deadline=math.inf)
                for i, p in enumerate((plan, plan, other, other))
            ]
            own = resolver.catalogue.resolve("m", "2")
            answers = await asyncio.gather(
                *(stack.predict(r) for r in asked[:2]), *(own.predict(r) for r in asked[2:])
            )
            assert [a.outputs[0][0, 0] for a in answers] == [0, 2, 4, 6]
            assert [(a.parameters or {}).get("fallback_reason") for a in answers] == [
                "failed: broken"
            ] * 2 + [None] * 2
            assert sum(runner.rows) == 4

    asyncio.run(main())
