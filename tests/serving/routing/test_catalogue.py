"""Names resolve to live versions.

Swaps take effect at once, and a version that went out is closed when it is empty.
"""

import asyncio
import time

import pytest

from gateway.core.errors import InvalidRequest, ModelNotFound, Overloaded, Unavailable
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.core.waiter import Waiter
from gateway.onnx.session import SessionNotOpened
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.version_changes import LiveVersions
from tests.support.versions import make_live


class Puppet:
    """A predictor that answers when the test says so."""

    def __init__(self):
        self.asked = []

    async def predict(self, request):
        waiter = Waiter()
        self.asked.append(waiter)
        return await waiter

    def describe(self):
        return Description("Puppet")


class Failures:
    def __init__(self):
        self.requests = 0

    def record_failures(self, requests, ns):
        assert ns >= 0
        self.requests += requests


def live(model="m", version=1, closed=None):
    plan = VersionPlan(model, version, "", "", (), ())

    async def close():
        if closed is not None:
            closed.append((model, version))

    return make_live(plan, Puppet(), Failures(), close=close)


def request():
    form = RequestForm(names=(), key=(), rows=1, input_bytes=0, outputs=(), parameters={})
    return InferenceRequest(form, (), time.monotonic())


def test_no_version_means_the_newest_and_a_version_means_that_one():
    catalogue = Catalogue()
    one = live(version=1)
    nine = live(version=9)
    ten = live(version=10)
    catalogue.swap([one, nine, ten], ())
    assert catalogue.resolve("m", "") is ten
    assert catalogue.resolve("m", "9") is nine
    assert [v.plan.version for v in catalogue.versions("m")] == [1, 9, 10]


@pytest.mark.parametrize("version", ["x", "-1", "1.0", "٣", "1" * 20])
def test_a_version_that_is_no_number_is_the_callers_fault(version):
    catalogue = Catalogue()
    catalogue.swap([live()], ())
    with pytest.raises(InvalidRequest, match="should be an integral value > 0"):
        catalogue.resolve("m", version)


def test_what_nobody_knows_is_not_found():
    catalogue = Catalogue()
    catalogue.swap([live()], ())
    with pytest.raises(ModelNotFound, match=r"^Request for unknown model: 'n' is not found$"):
        catalogue.resolve("n", "")
    with pytest.raises(ModelNotFound, match=r"version 7 is not found \(live versions: 1\)$"):
        catalogue.resolve("m", "7")


def test_what_is_known_and_not_live_is_unavailable_and_says_why():
    catalogue = Catalogue()
    catalogue.explain({("m", 2): "it is LOADING", ("bad", 0): "no version folder"})
    with pytest.raises(Unavailable, match="it is LOADING"):
        catalogue.resolve("m", "")
    with pytest.raises(Unavailable, match="it is LOADING"):
        catalogue.resolve("m", "2")
    with pytest.raises(Unavailable, match="no version folder"):
        catalogue.resolve("bad", "")


def test_a_version_that_is_not_live_comes_with_those_that_are():
    catalogue = Catalogue()
    catalogue.swap([live()], ())
    catalogue.explain({("m", 2): "unloaded"})
    with pytest.raises(Unavailable, match=r"state: unloaded \(live versions: 1\)$"):
        catalogue.resolve("m", "2")


def test_what_was_taken_out_is_unavailable_until_it_is_explained():
    catalogue = Catalogue()
    catalogue.swap([live()], ())
    catalogue.swap([], [("m", 1)])
    with pytest.raises(Unavailable, match="'m' is not at ready state: it is UNLOADING"):
        catalogue.resolve("m", "")
    catalogue.explain({})
    with pytest.raises(ModelNotFound):
        catalogue.resolve("m", "")


def test_a_swap_replaces_and_retires_in_one_step_and_tells_everybody_once():
    catalogue = Catalogue()
    told = []
    old = live(version=1)
    gone = live(version=2)
    new = live(version=1)
    catalogue.swap([old, gone], ())
    catalogue.on_change(lambda: told.append(catalogue.resolve("m", "")))
    assert catalogue.swap([new], [("m", 2)]) == [gone, old]
    assert told == [new]


def test_a_version_is_drained_when_the_last_request_has_left():
    async def main():
        version = live()
        task = asyncio.ensure_future(version.predict(request()))
        await asyncio.sleep(0)
        draining = asyncio.ensure_future(version.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        version.inner._inner.asked[0].settle(Prediction(()))
        await draining
        assert version.in_flight == 0
        await task

    asyncio.run(main())


def test_failures_are_counted_and_cancellations_are_not():
    async def main():
        version = live()
        first, second = (asyncio.ensure_future(version.predict(request())) for _ in range(2))
        await asyncio.sleep(0)
        version.inner._inner.asked[0].fail(Overloaded("full"))
        second.cancel()
        await asyncio.wait([first, second])
        assert isinstance(first.exception(), Overloaded)
        assert version.counts.requests == 1
        assert version.in_flight == 0

    asyncio.run(main())


def test_prepared_versions_go_live_only_at_commit_and_the_old_one_closes_after_its_last_request():
    async def main():
        catalogue = Catalogue()
        closed = []

        async def build(plan):
            return live(plan.model, plan.version, closed)

        versions = LiveVersions(catalogue, build)
        catalogue.swap([live(closed=closed)], ())
        old = catalogue.resolve("m", "")
        task = asyncio.ensure_future(old.predict(request()))
        await asyncio.sleep(0)
        assert await versions.prepare(1, [VersionPlan("m", 2, "", "", (), ())]) == ()
        assert catalogue.resolve("m", "") is old
        draining = asyncio.ensure_future(versions.commit(1, [("m", 2)], [("m", 1)]))
        await asyncio.sleep(0)
        assert catalogue.resolve("m", "").plan.version == 2
        assert closed == []
        old.inner._inner.asked[0].settle(Prediction(()))
        await draining
        assert closed == [("m", 1)]
        await task

    asyncio.run(main())


def test_a_version_that_cannot_be_opened_is_reported_and_the_others_are_ready():
    async def main():
        async def build(plan):
            if plan.version == 2:
                raise SessionNotOpened("broken file")
            return live(plan.model, plan.version)

        versions = LiveVersions(Catalogue(), build)
        plans = [VersionPlan("m", n, "", "", (), ()) for n in (1, 2, 3)]
        assert await versions.prepare(1, plans) == ((("m", 2), "broken file"),)
        assert set(versions._prepared[1]) == {("m", 1), ("m", 3)}

    asyncio.run(main())


def test_an_aborted_change_closes_what_it_prepared():
    async def main():
        closed = []

        async def build(plan):
            return live(plan.model, plan.version, closed)

        versions = LiveVersions(Catalogue(), build)
        await versions.prepare(1, [VersionPlan("m", 1, "", "", (), ())])
        await versions.abort(1)
        assert closed == [("m", 1)]

    asyncio.run(main())
