"""Fallbacks use a version that is live at that moment, without that version's own fallbacks.

The version is not closed while they use it.
"""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import GatewayError, ModelFailed, ModelNotFound, Unavailable
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.core.waiter import Waiter
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.fallback_targets import FallbackTargets
from tests.support.versions import make_live


class Layer:
    """A predictor that answers when the test says so."""

    def __init__(self):
        self.asked = []

    async def predict(self, request):
        self.asked.append(Waiter())
        return await self.asked[-1]

    def describe(self):
        return Description("Layer")


class Failures:
    def __init__(self):
        self.requests = 0

    def record_failures(self, requests, ns):
        self.requests += requests


def live(model="m", version=1, unguarded=None):
    plan = VersionPlan(model, version, "", "", (), ())
    return make_live(plan, Layer(), Failures(), without_fallback=unguarded)


def request():
    form = RequestForm(names=(), key=(), rows=1, input_bytes=0, outputs=(), parameters={})
    return InferenceRequest(form, (), time.monotonic())


def targets(*lives):
    catalogue = Catalogue()
    catalogue.swap(lives, ())
    return FallbackTargets(catalogue), catalogue


async def begun(coroutine):
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(0)
    return task


def test_a_version_that_is_named_is_that_one():
    one = live(version=1)
    two = live(version=2)
    made, _ = targets(one, two)
    assert made.resolve("m", 1, ("m", 2)).plan is one.plan


def test_no_version_means_the_newest_that_is_not_the_one_that_asks():
    made, _ = targets(live(version=2), live(version=9), live(version=10))
    assert made.resolve("m", 0, ("m", 10)).plan.version == 9
    assert made.resolve("m", 0, ("m", 9)).plan.version == 10


def test_the_newest_of_another_model_is_its_newest():
    made, _ = targets(live("n", 3), live("n", 4))
    assert made.resolve("n", 0, ("m", 4)).plan.key == ("n", 4)


def test_where_no_other_version_is_live_that_is_said():
    made, _ = targets(live())
    with pytest.raises(Unavailable, match=r"^no other version of 'm' is live$"):
        made.resolve("m", 0, ("m", 1))
    with pytest.raises(Unavailable, match=r"^no version of 'n' is live$"):
        made.resolve("n", 0, ("m", 1))


def test_a_named_version_that_is_not_live_is_refused_with_the_catalogues_reason():
    made, catalogue = targets(live())
    catalogue.explain({("m", 2): "it is LOADING"})
    with pytest.raises(Unavailable, match="it is LOADING"):
        made.resolve("m", 2, ("m", 1))
    with pytest.raises(ModelNotFound):
        made.resolve("m", 3, ("m", 1))


def test_versions_are_found_as_they_come_and_go():
    made, catalogue = targets(live())
    catalogue.swap([live(version=2)], ())
    assert made.resolve("m", 0, ("m", 1)).plan.version == 2
    catalogue.swap([], [("m", 2)])
    with pytest.raises(Unavailable):
        made.resolve("m", 0, ("m", 1))


@given(st.sets(st.integers(1, 30), max_size=8), st.integers(0, 30), st.integers(1, 30))
def test_whatever_is_live_the_answer_is_the_version_named_or_the_newest_other_one(
    versions, asked, own
):
    made, _ = targets(*(live(version=version) for version in versions))
    others = {asked} & versions if asked else versions - {own}
    try:
        found = made.resolve("m", asked, ("m", own)).plan.version
    except GatewayError:
        assert not others
    else:
        assert found == max(others)


def test_a_fallback_gets_the_version_without_its_fallbacks():
    async def main():
        without_fallback = Layer()
        version = live(unguarded=without_fallback)
        task = await begun(version.without_fallback().predict(request()))
        assert version.inner._inner.asked == []
        answer = Prediction(())
        without_fallback.asked[0].settle(answer)
        assert await task is answer

    asyncio.run(main())


def test_a_version_that_has_no_fallbacks_is_asked_as_it_is():
    async def main():
        version = live()
        task = await begun(version.without_fallback().predict(request()))
        version.inner._inner.asked[0].settle(Prediction(()))
        await task

    asyncio.run(main())


@pytest.mark.parametrize("end", ["answered", "failed", "cancelled"])
def test_a_version_is_not_drained_while_a_fallback_is_inside(end):
    async def main():
        version = live()
        task = await begun(version.without_fallback().predict(request()))
        assert version.in_flight == 1
        draining = await begun(version.drain())
        assert not draining.done()
        if end == "answered":
            version.inner._inner.asked[0].settle(Prediction(()))
        elif end == "failed":
            version.inner._inner.asked[0].fail(ModelFailed("no"))
        else:
            task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(draining, 5)
        assert version.in_flight == 0

    asyncio.run(main())


def test_a_failure_beneath_is_the_callers_to_count():
    async def main():
        version = live()
        task = await begun(version.without_fallback().predict(request()))
        version.inner._inner.asked[0].fail(ModelFailed("no"))
        with pytest.raises(ModelFailed):
            await task
        assert version.counts.requests == 0

    asyncio.run(main())


def test_what_was_resolved_goes_on_after_the_version_was_taken_out():
    async def main():
        version = live(version=2)
        made, catalogue = targets(live(), version)
        without_fallback = made.resolve("m", 0, ("m", 1))
        assert catalogue.swap([], [("m", 2)]) == [version]
        task = await begun(without_fallback.predict(request()))
        version.inner._inner.asked[0].settle(Prediction(()))
        await task

    asyncio.run(main())
