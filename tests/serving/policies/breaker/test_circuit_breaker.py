"""The gate around pybreaker: each trap of the library, and what an operator can do."""

import itertools
import logging
import math
from types import SimpleNamespace

import pytest

from gateway.serving.policies.breaker.circuit_breaker import PASS, Outcome
from tests.support.breaker_parts import batch, breaker, fail, succeed


def test_a_closed_circuit_admits_everybody_with_one_shared_ticket():
    gate, _, transitions = breaker()
    assert gate.closed
    assert gate.admits
    assert gate.admit() is gate.admit() is PASS
    assert not PASS.probe
    gate.release(PASS)
    assert transitions == []


def test_it_opens_at_the_configured_number_of_failures_in_a_row():
    gate, clock, transitions = breaker(consecutive_failures=3, reset_timeout_s=4)
    fail(gate, 2)
    assert gate.closed
    fail(gate)
    assert not gate.closed
    assert gate.state == "open"
    assert gate.admit() is None
    assert not gate.admits
    (opened,) = transitions
    assert (opened.name, opened.old, opened.new, opened.at, opened.retry_in_s) == (
        "m 1",
        "closed",
        "open",
        clock.at,
        4,
    )
    assert opened.reason == "3 consecutive batches failed; last error: no memory"


def test_a_success_ends_the_row_of_failures():
    gate, _, _ = breaker(consecutive_failures=3, failure_rate=0)
    for _ in range(10):
        fail(gate, 2)
        succeed(gate)
    assert gate.closed


def test_zero_consecutive_failures_means_that_no_row_opens_it():
    gate, _, _ = breaker(consecutive_failures=0, failure_rate=0)
    fail(gate, 1000)
    assert gate.closed


def test_what_teaches_nothing_neither_counts_nor_ends_the_row_of_failures():
    gate, _, _ = breaker(consecutive_failures=3, minimum_batches=1000)
    fail(gate, 2)
    batch(gate, Outcome.NEUTRAL, error=TimeoutError())
    assert gate.snapshot().consecutive_failures == 2
    assert gate.snapshot().window_batches == 2
    fail(gate)
    assert gate.state == "open"


def test_a_neutral_batch_does_not_close_a_half_open_circuit():
    gate, clock, transitions = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    clock.at += 5
    probe = gate.admit()
    batch(gate, Outcome.NEUTRAL)
    assert gate.state == "half-open"
    gate.release(probe)
    assert transitions.states == ["open", "half-open"]


def test_half_open_admits_one_request_of_a_thousand():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    clock.at += 4.999
    assert gate.admit() is None
    clock.at += 0.001
    assert gate.admits
    assert gate.state == "open"  # asking whether it would changes nothing
    tickets = [ticket for _ in range(1000) if (ticket := gate.admit())]
    assert [ticket.probe for ticket in tickets] == [True]
    assert not gate.admits
    assert gate.retry_in_s == 0


def test_a_probe_that_succeeds_closes_the_circuit_and_the_past_is_forgotten():
    gate, clock, transitions = breaker(consecutive_failures=2, reset_timeout_s=5)
    fail(gate, 2)
    clock.at += 5
    probe = gate.admit()
    succeed(gate)
    gate.release(probe)
    assert gate.closed
    assert transitions.states == ["open", "half-open", "closed"]
    now = gate.snapshot()
    assert (
        now.window_batches,
        now.window_failures,
        now.consecutive_failures,
        now.retry_in_s,
        now.opened,
    ) == (0, 0, 0, 0, 1)
    fail(gate)
    assert gate.closed


def test_a_probe_that_fails_opens_the_circuit_for_another_interval():
    gate, clock, transitions = breaker(consecutive_failures=2, reset_timeout_s=5)
    fail(gate, 2)
    clock.at += 7
    probe = gate.admit()
    fail(gate)
    gate.release(probe)
    assert gate.state == "open"
    assert gate.retry_in_s == 5
    assert gate.admit() is None
    assert transitions[-1].reason == "the probe failed; last error: no memory"
    assert gate.snapshot().opened == 2


def test_a_probe_that_is_cancelled_before_it_ran_is_given_back():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    clock.at += 5
    first = gate.admit()
    gate.release(first)
    assert gate.state == "half-open"
    second = gate.admit()
    assert second is not None
    assert second.probe
    gate.release(first)  # a probe that is over gives back no other's place
    assert gate.admit() is None


def test_a_probe_whose_caller_left_while_it_ran_is_waited_for_and_its_outcome_counts():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    clock.at += 5
    probe = gate.admit()
    generation = gate.begin()
    gate.release(probe)
    assert gate.admit() is None
    gate.end(generation, Outcome.SUCCESS, 0.1, None)
    assert gate.closed


def test_a_probe_whose_caller_left_is_given_back_when_its_batch_teaches_nothing():
    gate, clock, _ = breaker(consecutive_failures=1)
    fail(gate)
    clock.at += 5
    probe = gate.admit()
    generation = gate.begin()
    gate.release(probe)
    gate.end(generation, Outcome.NEUTRAL, 0.1, None)
    assert gate.admit().probe


def test_a_model_that_hangs_gets_one_probe_in_each_reset_interval_however_many_callers_give_up():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    probes = []
    for _ in range(600):  # a caller every 0.1 s, who leaves at once; no batch ever ends
        clock.at += 0.1
        if ticket := gate.admit():
            probes.append(clock.at)
            gate.begin()
            gate.release(ticket)
    assert 11 <= len(probes) <= 12
    assert all(b - a >= 5 for a, b in itertools.pairwise(probes))


def test_stragglers_of_an_older_generation_change_nothing():
    gate, clock, transitions = breaker(consecutive_failures=2, reset_timeout_s=5)
    stragglers = [gate.begin() for _ in range(4)]
    fail(gate, 2)
    clock.at += 3
    gate.end(stragglers.pop(), Outcome.FAILURE, 3, ValueError("late"))
    gate.end(stragglers.pop(), Outcome.SUCCESS, 3, None)
    assert gate.state == "open"
    assert gate.retry_in_s == 2  # not begun anew
    assert gate.snapshot().last_error == "no memory"
    clock.at += 2
    gate.admit()
    gate.end(stragglers.pop(), Outcome.FAILURE, 5, ValueError("late"))
    assert gate.state == "half-open"
    succeed(gate)
    gate.end(stragglers.pop(), Outcome.FAILURE, 5, ValueError("late"))
    assert gate.snapshot().consecutive_failures == 0
    assert transitions.states == ["open", "half-open", "closed"]


def test_a_batch_that_begins_while_open_is_not_heard():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    queued_before = gate.begin()
    fail(gate)
    assert gate.retry_in_s == 5
    clock.at += 5
    gate.admit()
    gate.end(queued_before, Outcome.SUCCESS, 0.1, None)
    assert gate.state == "half-open"


def test_it_opens_at_a_share_of_failures_once_there_are_enough_batches():
    gate, _, transitions = breaker(
        consecutive_failures=0, failure_rate=0.5, minimum_batches=20, window_s=30
    )
    for _ in range(9):
        fail(gate)
        succeed(gate)
    fail(gate)
    assert gate.closed  # 10 of 19
    succeed(gate)
    assert gate.closed  # 10 of 20: judged when one fails
    fail(gate)
    assert gate.state == "open"
    assert transitions[0].reason == "11 of 21 batches failed within 30 s; last error: no memory"


def test_a_share_of_failures_below_the_threshold_never_opens_it():
    gate, clock, _ = breaker(consecutive_failures=5, failure_rate=0.5)
    for _ in range(200):
        clock.at += 0.01
        fail(gate)
        succeed(gate, 4)
    assert gate.closed


def test_failures_older_than_the_window_are_not_counted():
    gate, clock, _ = breaker(
        consecutive_failures=0, failure_rate=0.5, minimum_batches=20, window_s=30
    )
    fail(gate, 19)
    clock.at += 30
    assert gate.snapshot().window_batches == 0
    fail(gate, 19)
    assert gate.closed
    fail(gate)
    assert gate.state == "open"


def test_a_rate_of_zero_judges_no_share_and_keeps_no_window():
    gate, _, _ = breaker(consecutive_failures=0, failure_rate=0, minimum_batches=1)
    fail(gate, 100)
    assert gate.closed
    assert gate.snapshot().window_batches == 0


def test_a_slow_success_counts_as_a_failure_where_that_is_configured():
    gate, _, transitions = breaker(consecutive_failures=2, slow_call_s=0.5)
    batch(gate, Outcome.SUCCESS, elapsed_s=0.5)
    for _ in range(2):
        batch(gate, Outcome.SUCCESS, elapsed_s=0.7)
    assert gate.state == "open"
    assert transitions[0].reason.endswith("last error: it took 0.7 s, longer than 0.5 s")


def test_no_success_is_too_slow_by_default():
    gate, _, _ = breaker(consecutive_failures=1)
    batch(gate, Outcome.SUCCESS, elapsed_s=1e6)
    assert gate.closed


def test_the_wall_clock_plays_no_part():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=3600)
    fail(gate)
    clock.at += 3600  # while the wall clock has hardly moved
    assert gate.admit().probe
    fail(gate)
    assert gate.retry_in_s == 3600
    # a clock must not go back; if one does, the breaker waits and nothing breaks
    clock.at -= 100
    assert gate.admit() is None


def test_the_error_stays_the_callers_own_and_its_frames_are_not_kept():
    gate, _, _ = breaker(consecutive_failures=2)
    error = ValueError("a model's\n  own   words")
    for _ in range(2):
        batch(gate, Outcome.FAILURE, error=error)
    assert gate.state == "open"
    assert error.__traceback__ is None
    assert error.__context__ is None
    assert gate.snapshot().last_error == "a model's own words"


def test_the_text_of_an_error_is_kept_in_bounds():
    gate, _, _ = breaker()
    batch(gate, Outcome.FAILURE, error=ValueError("x" * 10_000))
    assert len(gate.snapshot().last_error) == 300
    batch(gate, Outcome.FAILURE, error=ValueError())
    assert gate.snapshot().last_error == "ValueError"


def test_a_circuit_that_is_not_enabled_stays_closed():
    gate, _, transitions = breaker(enabled=False, consecutive_failures=1)
    fail(gate, 100)
    assert gate.closed
    assert gate.admit() is PASS
    assert transitions == []


@pytest.mark.parametrize("enabled", [True, False])
def test_forced_open_it_refuses_all_and_sends_no_probes(enabled):
    gate, clock, transitions = breaker(enabled=enabled, reset_timeout_s=5)
    gate.force("open")
    assert (gate.closed, gate.state, gate.forced) == (False, "open", "open")
    for _ in range(3):
        clock.at += 1e6
        assert not gate.admits
        assert gate.admit() is None
    succeed(gate)
    assert gate.state == "open"
    assert gate.retry_in_s == math.inf
    assert transitions.states == ["open"]
    assert transitions[0].reason == "an operator forced it open"


def test_forced_closed_it_admits_all_and_keeps_no_state():
    gate, _, transitions = breaker(consecutive_failures=1)
    fail(gate)
    gate.force("closed")
    fail(gate, 100)
    assert (gate.closed, gate.state, gate.forced) == (True, "closed", "closed")
    assert gate.admit() is PASS
    assert gate.snapshot().consecutive_failures == gate.snapshot().window_batches == 0
    assert transitions.states == ["open", "closed"]


@pytest.mark.parametrize("before", ["open", "closed"])
def test_automatic_starts_from_closed_anew(before):
    gate, _, _ = breaker(consecutive_failures=2)
    straggler = gate.begin()
    fail(gate)
    gate.force(before)
    gate.force("")
    assert (gate.closed, gate.state, gate.forced) == (True, "closed", "")
    gate.end(straggler, Outcome.FAILURE, 1, None)
    fail(gate)
    assert gate.closed
    fail(gate)
    assert gate.state == "open"


def test_forcing_what_holds_already_changes_nothing():
    gate, clock, transitions = breaker(consecutive_failures=1, reset_timeout_s=5)
    fail(gate)
    clock.at += 1
    gate.force("")  # as every publication of the main process does
    assert gate.state == "open"
    assert gate.retry_in_s == 4
    assert transitions.states == ["open"]


def test_opening_is_logged_as_a_warning_and_the_rest_as_information(caplog):
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    caplog.set_level(logging.INFO)
    fail(gate)
    clock.at += 5
    gate.admit()
    succeed(gate)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "circuit breaker for model m 1 is open: a batch failed; last error: no memory"),
        (
            "INFO",
            "circuit breaker for model m 1 is half-open: one request is let through as a probe",
        ),
        ("INFO", "circuit breaker for model m 1 is closed: the probe was answered"),
    ]


def test_repr_tells_the_live_state():
    gate, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    assert repr(gate) == "<CircuitBreaker m 1 closed>"
    fail(gate)
    clock.at += 1.8
    assert repr(gate) == "<CircuitBreaker m 1 open, retrying in 3.2 s>"


def finished(subject, outcome, generation=None):
    """Begins and ends a batch of a version at once; outcome None: it is not known yet."""
    batch = SimpleNamespace(outcome=outcome, elapsed_s=0.001, error=ValueError("no memory"))
    subject.batch_started(batch)
    if generation is not None:
        batch.generation = generation
    subject.batch_finished(batch)
    return batch.generation


def test_a_versions_batches_are_listened_to_once_their_outcome_is_known():
    made, _, _ = breaker(consecutive_failures=2)
    for outcome in (Outcome.FAILURE, None, Outcome.NEUTRAL):
        finished(made, outcome)
    assert made.closed
    finished(made, Outcome.FAILURE)
    assert not made.closed


def test_the_last_part_of_a_batch_counts_in_the_generation_that_the_batch_began_in():
    made, clock, _ = breaker(consecutive_failures=1, reset_timeout_s=5)
    began = finished(made, None)
    finished(made, Outcome.FAILURE)
    clock.at += 5
    assert made.admit() is not None
    finished(made, Outcome.SUCCESS, generation=began)
    assert not made.closed
    finished(made, Outcome.SUCCESS)
    assert made.closed
