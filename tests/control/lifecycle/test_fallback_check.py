"""Fallbacks that nobody can answer, by what is live."""

from gateway.control.lifecycle.fallback_check import FallbackCheck, unanswered
from gateway.core.plan import VersionPlan
from gateway.core.protection import FallbackLink, ProtectionPlan


def plan(model, version, *links):
    protection = ProtectionPlan(fallback=links)
    return VersionPlan(model, version, "", "", (), (), protection=protection)


def live(*plans):
    return {each.key: each for each in plans}


def test_a_fallback_on_a_model_that_is_not_there_is_warned_of_once(caplog):
    check = FallbackCheck()
    there = live(plan("m", 1, FallbackLink(model="nobody")), plan("n", 1))
    check.warn(there)
    check.warn(there)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "'m' version 1: fallback[0] is model nobody, which is not live and cannot answer "
        "(live: m, n)"
    )


def test_where_every_fallback_can_answer_nothing_is_said(caplog):
    links = FallbackLink(model="n"), FallbackLink(constant={"y": 0}), FallbackLink(cache_age_s=1)
    FallbackCheck().warn(live(plan("m", 1, *links), plan("n", 1)))
    assert caplog.records == []


def test_a_version_without_a_fallback_is_answered_by_nobody_while_its_breaker_is_forced_open():
    (warning,) = unanswered(live(plan("m", 1)), [("m", 1, ""), ("m", 1, "worker 1")])
    assert warning == (
        "nobody answers requests for 'm' version 1 while its circuit breaker is forced open: it "
        "has no fallback; --automatic lets the breaker decide again"
    )


def test_a_fallback_answers_only_for_what_it_is_for_and_where_its_target_is_live():
    overloaded = FallbackLink(constant={"y": 0}, errors=frozenset({"overloaded"}))
    for link in (overloaded, FallbackLink(model="nobody"), FallbackLink(version=-1)):
        (warning,) = unanswered(live(plan("m", 1, link)), [("m", 1, "")])
        assert "none of its fallbacks can" in warning
    answered = live(plan("m", 1, FallbackLink(constant={"y": 0})))
    assert unanswered(answered, [("m", 1, "")]) == ()
