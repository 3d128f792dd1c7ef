"""How the fault trials judge, and that a load without deadlines keeps how every call ended."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.chaos.__main__ import run, trials
from load_tests.chaos.findings import (
    Finding,
    at_least,
    at_most,
    broken,
    exactly,
    fallen_short,
    table,
)
from load_tests.chaos.gateways import Gateways, scaled
from load_tests.chaos.patient_loop import ask
from load_tests.http2 import INTERNAL, OK, UNAVAILABLE
from load_tests.payloads import fault_of_message
from load_tests.servers import Cores

RATES = st.floats(0, 1e9)


class TestJudging:
    @given(RATES, RATES)
    def test_a_limit_itself_is_good_enough_and_the_other_side_falls_short(self, value, limit):
        assert at_least("t", "goodput", value, limit).holds == (value >= limit)
        assert at_most("t", "p50", value, limit, " ms").holds == (value <= limit)
        assert at_least("t", "goodput", limit, limit).holds
        assert at_most("t", "p50", limit, limit).holds

    def test_what_could_not_be_measured_falls_short(self):
        assert not at_least("t", "goodput", math.nan, 0.9).holds
        assert not at_most("t", "p50", math.nan, 60).holds

    def test_the_short_form_judges_counts_and_no_times(self):
        findings = [
            at_least("t", "goodput", 0.1, 0.9),
            exactly("t", "failed calls", 3, 0),
            exactly("t", "opened", 1, 1),
        ]
        assert [finding.verdict(short=True) for finding in findings] == ["-", "SHORT", "ok"]
        assert [finding.verdict(short=False) for finding in findings] == ["SHORT", "SHORT", "ok"]
        assert fallen_short(findings, short=True) == [findings[1]]
        assert fallen_short(findings, short=False) == findings[:2]

    def test_the_table_has_a_line_a_finding_under_one_head(self):
        lines = table(
            [
                at_most("slow one", "p50", 12.3456, 60, " ms", note="of many"),
                exactly("b", "failed calls", 0, 0),
            ],
            short=False,
        ).splitlines()
        assert [line.split() for line in lines] == [
            ["trial", "must", "measured"],
            ["slow", "one", "p50", "<=", "60", "ms", "ok", "12.3", "ms", "(of", "many)"],
            ["b", "failed", "calls:", "0", "ok", "0"],
        ]
        assert (
            len(
                {
                    line.index(what)
                    for line, what in zip(lines, ("must", "p50", "failed"), strict=True)
                }
            )
            == 1
        )


def test_a_trial_that_breaks_off_falls_short_in_both_forms_and_the_next_one_runs(tmp_path):
    def breaks(_ground):
        yield exactly("first", "failed calls", 0, 0)
        raise SystemExit("did not come up")

    def works(_ground):
        yield exactly("second", "failed calls", 0, 0)

    for short in (True, False):
        findings = run(
            {"first": breaks, "second": works}, Gateways(tmp_path, tmp_path, Cores(0, 0), short)
        )
        assert [finding.verdict(short=short) for finding in findings] == ["ok", "SHORT", "ok"]
        assert "did not come up" in findings[1].measured


def test_every_trial_says_what_it_does():
    assert all(getattr(trial, "func", trial).__doc__ for trial in trials(1).values())


def test_an_error_is_told_by_its_kind_and_first_words():
    assert broken("killed", TimeoutError("x" * 1000)) == Finding(
        "killed", "comes to its end", "TimeoutError: " + "x" * 286, holds=False, timed=False
    )


@given(st.integers(0, 99), st.sampled_from([2.0, 5.0]))
def test_answers_of_the_failing_version_and_of_its_fallback_are_told_apart(value, factor):
    from gateway.protocol.generated import inference_pb2

    response = inference_pb2.ModelInferResponse(
        model_name="broken",
        raw_output_contents=[scaled("broken", value, factor).expected.tobytes()],
    )
    response.outputs.add(name="probs", datatype="FP32", shape=[1, 4])
    reply = response.SerializeToString()
    assert fault_of_message(reply, scaled("broken", value, factor)) == ""
    assert bool(fault_of_message(reply, scaled("broken", value, 7 - factor))) == (value > 0)


class TestAsking:
    def test_every_call_is_answered_and_compared(self, yardstick, payload):
        load = ask(yardstick.address, [payload], connections=2, streams=8, calls=200)
        assert load.statuses == {OK: 200}
        assert (load.failed, load.unanswered, load.wrong) == (0, 0, [])
        assert 0 < load.latency_ms(50) <= load.latency_ms(99)
        assert load.goodput_per_s == pytest.approx(200 / load.took_s)

    def test_calls_that_fail_are_kept_with_their_status_and_time(self, yardstick, payload):
        load = ask(
            yardstick.address, [scaled("no such model", 1, 1)], connections=1, streams=2, calls=10
        )
        assert load.failed == len(load.ended) == 10
        assert OK not in load.statuses
        assert math.isnan(load.latency_ms(50))
        assert load.latency_ms(50, load.ended[0].status) > 0
        assert load.statuses[INTERNAL] + load.statuses[UNAVAILABLE] <= 10

    def test_a_load_ends_with_its_time_and_pauses_between_calls(self, yardstick, payload):
        load = ask(yardstick.address, [payload], connections=1, streams=2, seconds=0.5, pause_s=0.1)
        assert 2 <= len(load.ended) <= 12
        assert load.failed == 0
        assert load.took_s < 5
