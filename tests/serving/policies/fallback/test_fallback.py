"""A version that cannot answer is answered for by the first link that may and can.

Without such a link its own error stands.
"""

import asyncio
import gc
import logging
import math
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import (
    CircuitBreakerOpen,
    DeadlineExpired,
    GatewayError,
    InstanceFailed,
    InvalidRequest,
    ModelFailed,
    ModelNotFound,
    OutputRefused,
    Overloaded,
    Unavailable,
    Unsupported,
)
from gateway.core.protection import FallbackLink
from gateway.core.request import Prediction
from gateway.core.waiter import Waiter
from gateway.protocol.codec import VersionCodec
from gateway.protocol.generated.inference_pb2 import ModelInferResponse
from gateway.serving.policies.fallback.chain import with_fallback
from gateway.serving.policies.fallback.fallback import Fallback, LinkFailed, next_link, one_line
from tests.support.fallback_parts import (
    CONSTANT,
    ByHand,
    CatalogueResolver,
    Inside,
    in_virtual_time,
    live,
    request,
    version_plan,
)

KINDS = ["failed", "unavailable", "deadline", "overloaded"]
plans = st.lists(
    st.builds(
        FallbackLink,
        errors=st.frozensets(st.sampled_from(KINDS)),
        minimum_slack_s=st.floats(0, 10),
        version=st.just(1),
    ),
    max_size=6,
)


@given(
    st.sampled_from([*KINDS, ""]), plans, st.integers(0, 6), st.floats(-1, 20) | st.just(math.inf)
)
def test_the_next_link_is_the_first_that_answers_the_kind_and_has_the_time(
    kind, links, start, slack_s
):
    found = next_link(kind, links, start, slack_s)
    may = [
        i
        for i, link in enumerate(links)
        if i >= start and kind in link.errors and slack_s >= link.minimum_slack_s
    ]
    if slack_s <= 0:
        assert found is None
    else:
        assert found == (may[0] if may else None)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ModelFailed, "failed"),
        (OutputRefused, "failed"),
        (Unavailable, "unavailable"),
        (CircuitBreakerOpen, "unavailable"),
        (InstanceFailed, "unavailable"),
        (DeadlineExpired, "deadline"),
        (Overloaded, "overloaded"),
        (InvalidRequest, ""),
        (ModelNotFound, ""),
        (Unsupported, ""),
        (GatewayError, ""),
    ],
)
def test_every_error_has_its_kind(error, kind):
    assert error("x").fallback_kind == kind


class Says:
    """A link that answers as the test wants."""

    def __init__(self, name, error=None, **plan):
        self.plan = FallbackLink(function=name, **plan)
        self.error = error
        self.asked = 0

    async def answer(self, asked):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Prediction((np.ones((asked.form.rows, 2), "f4"),), {"served_by": self.plan.name})


def chain(inner, *links, now=lambda: 1000.0):
    return Fallback(inner, links, version_plan(), now)


def predict(fallback, asked=None):
    return asyncio.run(fallback.predict(asked or request(version_plan())))


def test_what_the_version_answers_passes_as_it_is():
    inner = Inside()
    link = Says("a")
    answer = predict(chain(inner, link))
    assert answer.parameters is None
    assert link.asked == 0


def test_the_first_link_that_can_answers_and_the_answer_says_so():
    first = Says("a", LinkFailed("no"))
    second = Says("b")
    third = Says("c")
    answer = predict(chain(Inside(ModelFailed("it\nbroke " + "x" * 300)), first, second, third))
    reason = "it broke " + "x" * 191
    assert answer.parameters == {
        "served_by": "function b",
        "degraded": True,
        "fallback_reason": f"failed: {reason}",
    }
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


@pytest.mark.parametrize(
    "error", [LinkFailed("l"), Overloaded("l"), InvalidRequest("l"), KeyError("a bug")]
)
def test_where_all_links_fail_the_first_error_stands(error):
    first = CircuitBreakerOpen("first")
    with pytest.raises(CircuitBreakerOpen) as raised:
        predict(chain(Inside(first), Says("a", error), Says("b", error)))
    assert raised.value is first
    assert first.__context__ is None


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("x"),
        ModelNotFound("x"),
        Unsupported("x"),
        Overloaded("x"),
        DeadlineExpired("x"),
    ],
)
def test_the_callers_faults_never_fall_back_and_overload_and_deadlines_only_where_configured(error):
    link = Says("a")
    with pytest.raises(type(error)):
        predict(chain(Inside(error), link))
    assert link.asked == 0


def test_overload_and_deadlines_fall_back_where_configured():
    for error in (Overloaded("x"), DeadlineExpired("x")):
        assert (
            predict(
                chain(Inside(error), Says("a", errors=frozenset({"overloaded", "deadline"})))
            ).parameters["degraded"]
            is True
        )


def test_a_link_that_needs_more_time_than_is_left_is_passed_over():
    asked = request(version_plan(), deadline=1000.5)
    slow = Says("slow", minimum_slack_s=0.6)
    quick = Says("quick", minimum_slack_s=0.4)
    assert (
        predict(chain(Inside(ModelFailed("x")), slow, quick), asked).parameters["served_by"]
        == "function quick"
    )
    assert slow.asked == 0


def test_time_that_one_link_takes_is_gone_for_the_next():
    now = [1000.0]

    class Slow(Says):
        async def answer(self, asked):
            now[0] += 1.0
            return await super().answer(asked)

    late = Says("late")
    with pytest.raises(ModelFailed):
        predict(
            chain(
                Inside(ModelFailed("x")), Slow("slow", LinkFailed("no")), late, now=lambda: now[0]
            ),
            request(version_plan(), deadline=1000.5),
        )
    assert late.asked == 0


def test_a_cancelled_request_does_not_fall_back():
    class Waits(Inside):
        async def predict(self, asked):
            return await Waiter()

    async def main():
        link = Says("a")
        driven = ByHand(chain(Waits(), link).predict(request(version_plan())))
        driven.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driven.outcome()
        task = asyncio.ensure_future(
            chain(Inside(ModelFailed("x")), Says("b", asyncio.CancelledError()), link).predict(
                request(version_plan())
            )
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        assert link.asked == 0

    asyncio.run(main())


def test_an_error_that_was_answered_for_is_let_go_without_the_collector():
    class Fails(Inside):
        async def predict(self, asked):
            await asyncio.sleep(0)
            error = ModelFailed("x")
            errors.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error

    class LinkFails(Says):
        async def answer(self, asked):
            error = LinkFailed("x")
            errors.append(weakref.ref(error))
            try:
                raise error
            finally:
                del error

    errors = []
    logging.disable(logging.WARNING)  # whoever captures the log may keep what it is given
    gc.disable()
    try:
        predict(chain(Fails(), LinkFails("a"), Says("b")))
        assert [ref() for ref in errors] == [None, None]
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def test_a_storm_of_fallbacks_is_one_warning_at_once_and_counts_later(caplog):
    async def main():
        fallback = chain(Inside(ModelFailed("x")), Says("a"))
        for _ in range(500):
            await fallback.predict(request(version_plan()))
        assert caplog.messages == [
            "a request for 'm' version 1 was answered by its fallback, function a; failed: x"
        ]
        await asyncio.sleep(10)
        assert caplog.messages[1].startswith(
            "499 more requests for 'm' version 1 were answered by its "
            "fallback within 10 s; the last: "
        )

    in_virtual_time(main())


def test_what_a_link_raised_unforeseen_is_logged_with_its_traceback(caplog):
    with pytest.raises(ModelFailed):
        predict(chain(Inside(ModelFailed("x")), Says("a", KeyError("a bug"))))
    assert caplog.records[0].exc_info[0] is KeyError


@given(st.text())
def test_any_text_becomes_one_line_that_fits_into_an_answer(text):
    line = one_line(ModelFailed(text))
    assert line
    assert len(line) <= 200
    assert line.splitlines() == [line]
    line.encode()


def test_the_answers_parameters_reach_the_caller():
    plan = version_plan(CONSTANT)
    fallback = with_fallback(
        Inside(Unavailable("it is loading")), plan, CatalogueResolver(), lambda: 0.0
    )
    codec = VersionCodec(plan)
    asked = request(plan, rows=2)
    response = ModelInferResponse.FromString(
        codec.encode(b"", asked.form.outputs, predict(fallback, asked))
    )
    assert response.parameters["degraded"].bool_param is True
    assert response.parameters["served_by"].string_param == "constant"
    assert response.parameters["fallback_reason"].string_param == "unavailable: it is loading"
    assert response.raw_output_contents[0] == np.array([[1.5, 2.5], [1.5, 2.5]], "<f4").tobytes()


def test_a_chain_is_made_in_the_order_of_its_plan():
    links = (
        FallbackLink(version=2),
        FallbackLink(model="small"),
        FallbackLink(cache_age_s=9.0),
        FallbackLink(function="math:sin"),
        CONSTANT,
    )
    fallback = with_fallback(Inside(), version_plan(*links), CatalogueResolver(), lambda: 0.0)
    assert fallback.describe().lines() == [
        "Fallback  version 2, then model small, then cache, then function math:sin, then constant",
        "  Remembered  LastAnswers 0 answers, 0 of 67108864 bytes, 0 passed over",
        "    Inside",
    ]


def test_a_version_is_not_its_own_fallback_and_without_links_there_is_no_chain():
    inner = Inside()
    assert with_fallback(inner, version_plan(), CatalogueResolver(), lambda: 0.0) is inner
    assert (
        with_fallback(
            inner, version_plan(FallbackLink(version=1)), CatalogueResolver(), lambda: 0.0
        )
        is inner
    )


def test_a_link_that_cannot_be_made_says_which_and_why():
    plan = version_plan(FallbackLink(version=2), FallbackLink(constant={"y": "x"}))
    with pytest.raises(
        ValueError, match=r"^fallback 2 \(constant\): output 'y' is FP32: 'x' is not a number$"
    ):
        with_fallback(Inside(), plan, CatalogueResolver(), lambda: 0.0)


def test_a_catalogue_swap_moves_the_chain_to_the_new_version():
    plan = version_plan(FallbackLink(version=-1), version=3)
    resolver = CatalogueResolver(live(plan, Inside()), live(version_plan(version=1), Inside()))
    fallback = with_fallback(Inside(ModelFailed("x")), plan, resolver, lambda: 0.0)
    assert predict(fallback).parameters["served_by"] == "version 1"
    resolver.catalogue.swap([live(version_plan(version=2), Inside())], [("m", 1)])
    assert predict(fallback).parameters["served_by"] == "version 2"
    resolver.catalogue.swap([], [("m", 2)])
    with pytest.raises(ModelFailed, match="x"):
        predict(fallback)
