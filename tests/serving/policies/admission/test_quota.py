"""Every caller has its own rate, and what it did not use is saved up to a bound."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Overloaded
from gateway.core.predictor import Description
from gateway.core.request import InferenceRequest, Prediction, RequestForm
from gateway.serving.policies.admission.quota import Buckets, Quota


class Clock:
    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


def quota(per_s=10.0, burst=0.0, key="x-team"):
    clock = Clock()
    return Buckets(key, per_s, burst, clock), clock


def allowed(made, caller="a", times=1):
    """How many of `times` requests are let through."""
    passed = 0
    for _ in range(times):
        try:
            made.require((("user-agent", "test"), ("x-team", caller)))
        except Overloaded:
            continue
        passed += 1
    return passed


def test_a_caller_may_save_up_a_seconds_worth_by_default():
    made, clock = quota(10.0)
    assert allowed(made, times=50) == 10
    clock.at += 100
    assert allowed(made, times=50) == 10


def test_a_caller_may_save_up_what_is_configured():
    assert allowed(quota(10.0, 25.0)[0], times=50) == 25


def test_tokens_come_back_at_the_rate():
    made, clock = quota(10.0)
    allowed(made, times=10)
    clock.at += 0.35
    assert allowed(made, times=10) == 3


def test_a_rate_below_one_a_second_lets_a_request_through_now_and_then():
    made, clock = quota(0.5)
    assert allowed(made, times=5) == 1
    clock.at += 1.9
    assert allowed(made) == 0
    clock.at += 0.2
    assert allowed(made) == 1


def test_who_is_refused_is_told_the_rate_and_when_the_next_may_come():
    made, clock = quota(2.0)
    allowed(made, times=2)
    clock.at += 0.25
    with pytest.raises(
        Overloaded,
        match=r"the quota of this caller \('x-team'\) is used up: 2 requests a second "
        r"here; the next one in 0\.250 s",
    ):
        made.require((("x-team", "a"),))
    clock.at += 0.251
    assert allowed(made) == 1


def test_refused_requests_cost_nothing():
    made, clock = quota(10.0)
    allowed(made, times=1000)
    clock.at += 0.101
    assert allowed(made) == 1


def test_one_callers_storm_takes_nothing_from_another():
    made, _ = quota(10.0)
    allowed(made, "a", 1000)
    assert allowed(made, "b", 10) == 10


def test_those_who_do_not_name_themselves_share_one_bucket():
    made, _ = quota(2.0)
    made.require(())
    made.require((("other", "a"),))
    with pytest.raises(Overloaded):
        made.require((("user-agent", "b"),))
    assert allowed(made, "a") == 1


def test_the_key_may_be_written_in_capitals():
    made, _ = quota(1.0, key="X-Team")
    assert allowed(made, "a", 2) == 1
    assert allowed(made, "b") == 1


def test_binary_names_are_callers_too():
    made, _ = quota(1.0, key="team-bin")
    made.require((("team-bin", b"\x00"),))
    made.require((("team-bin", b"\x01"),))
    with pytest.raises(Overloaded):
        made.require((("team-bin", b"\x00"),))


def test_of_more_callers_than_are_remembered_those_not_heard_of_longest_are_forgotten():
    made, _ = quota(1.0)
    allowed(made, "first")
    for number in range(9_999):
        allowed(made, str(number))
    assert allowed(made, "first") == 0  # and is heard of now
    allowed(made, "one more")
    assert "10000 callers" in repr(made)
    assert allowed(made, "first") == 0
    assert allowed(made, "0") == 1


@given(
    st.floats(0.1, 100),
    st.floats(0, 50),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 2), st.integers(1, 5)), max_size=80),
)
def test_no_caller_ever_gets_more_than_its_burst_and_its_rate_and_none_is_held_back_below_them(
    per_s, burst, asked
):
    made, clock = quota(per_s, burst)
    passed = dict.fromkeys("abc", 0)
    held_back = False
    for caller, after_s, times in asked:
        clock.at += after_s
        got = allowed(made, caller, times)
        passed[caller] += got
        held_back = held_back or got < times
        assert passed[caller] <= max(1.0, burst or per_s) + (clock.at - 1000.0) * per_s + 1e-6
    total = {caller: sum(times for who, _, times in asked if who == caller) for caller in "abc"}
    assert not held_back or max(total.values()) > max(1.0, burst or per_s) - 1


class Inside:
    async def predict(self, request):
        return Prediction(())

    def describe(self):
        return Description("inside")


class Caller:
    def metadata(self):
        return (("x-team", "a"),)

    def peer(self):
        return "ipv4:127.0.0.1:1"


def test_a_request_passes_while_its_caller_has_tokens_and_is_refused_then():
    made, _ = quota(1.0)
    predictor = Quota(Inside(), made)
    form = RequestForm(names=(), key=(), rows=1, input_bytes=0, outputs=(), parameters={})
    request = InferenceRequest(form, (), time.monotonic())
    request.caller = Caller()
    assert asyncio.run(predictor.predict(request)).outputs == ()
    with pytest.raises(Overloaded, match="is used up"):
        asyncio.run(predictor.predict(request))
    assert predictor.describe().lines() == [
        "Quota  each 'x-team' may make 1 requests a second here, 1 at once; 1 callers known",
        "  inside",
    ]
