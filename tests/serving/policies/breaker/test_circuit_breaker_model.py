"""The circuit breaker, compared with a reference.

The reference keeps every outcome in a list and has no library behind it.
"""

import itertools
import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.protection import BreakerPlan
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker, Outcome
from gateway.serving.policies.breaker.failure_window import BUCKETS
from tests.support.breaker_parts import Clock, Transitions

PLANS = st.builds(
    BreakerPlan,
    consecutive_failures=st.integers(0, 4),
    failure_rate=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    window_s=st.sampled_from([1.0, 10.0]),
    minimum_batches=st.integers(0, 6),
    reset_timeout_s=st.sampled_from([0.0, 0.5, 3.0]),
    slow_call_s=st.sampled_from([0.0, 0.2]),
)


class Reference:
    """What the circuit breaker should be, in as few words as possible."""

    def __init__(self, plan, clock):
        self.plan = plan
        self.clock = clock
        self.forced = ""
        self.epoch = 0
        self.become("closed")

    def become(self, state):
        self.state = state
        self.since = self.clock()
        self.epoch = self.epoch + 1
        self.probe = None
        self.probe_at = -math.inf
        self.running = 0
        if state == "closed":
            self.outcomes = []

    def may_pass(self):
        if self.state == "half-open":
            return self.probe is None or (
                self.probe == "left" and self.clock() >= self.probe_at + self.plan.reset_timeout_s
            )
        return self.state == "closed" or (
            not self.forced and self.clock() >= self.since + self.plan.reset_timeout_s
        )

    def learn(self, failed):
        if self.state == "half-open":
            self.become("open" if failed else "closed")
            return
        self.outcomes.append((self.clock(), failed))
        row = 0
        for _, was_failure in reversed(self.outcomes):
            if not was_failure:
                break
            row += 1
        recent = self.recent()
        plan = self.plan
        in_row = plan.consecutive_failures and row >= plan.consecutive_failures
        share = (
            plan.failure_rate
            and len(recent) >= max(plan.minimum_batches, 1)
            and sum(recent) >= plan.failure_rate * len(recent)
        )
        if failed and (in_row or share):
            self.become("open")

    def recent(self):
        bucket_s = self.plan.window_s / BUCKETS
        oldest = int(self.clock() / bucket_s) - BUCKETS
        return [failed for at, failed in self.outcomes if int(at / bucket_s) > oldest]


class CircuitMachine(RuleBasedStateMachine):
    @initialize(plan=PLANS)
    def start(self, plan):
        self.clock = Clock()
        self.transitions = Transitions()
        self.breaker = CircuitBreaker("m", plan, self.clock, self.transitions)
        self.reference = Reference(plan, self.clock)
        self.batches = []
        self.tickets = []

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 3.0, 20.0]))
    def time_passes(self, seconds):
        self.clock.at += seconds

    @rule()
    def a_request_comes(self):
        expected = self.reference.may_pass()
        assert self.breaker.admits is expected
        ticket = self.breaker.admit()
        assert (ticket is not None) is expected
        if ticket is None:
            return
        assert ticket.probe is (self.reference.state != "closed")
        if ticket.probe:
            if self.reference.state == "open":
                self.reference.become("half-open")
            self.reference.probe = ticket
            self.reference.probe_at = self.clock()
        self.tickets.append(ticket)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def a_request_ends(self, data):
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        self.breaker.release(ticket)
        if self.reference.probe is ticket:
            self.reference.probe = "left" if self.reference.running else None

    @rule()
    def a_batch_begins(self):
        self.batches.append((self.breaker.begin(), self.reference.epoch))
        self.reference.running += 1

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), elapsed_s=st.sampled_from([0.1, 0.3]))
    def a_batch_ends(self, data, outcome, elapsed_s):
        generation, epoch = self.batches.pop(data.draw(st.integers(0, len(self.batches) - 1)))
        error = ValueError("x") if outcome is Outcome.FAILURE else None
        self.breaker.end(generation, outcome, elapsed_s, error)
        reference = self.reference
        if epoch != reference.epoch:
            return
        reference.running -= 1
        if reference.forced or reference.state == "open":
            return
        if outcome is not Outcome.NEUTRAL:
            reference.learn(
                outcome is Outcome.FAILURE or 0 < reference.plan.slow_call_s < elapsed_s
            )
        elif reference.probe == "left" and not reference.running:
            reference.probe = None

    @rule(which=st.sampled_from(["", "", "open", "closed"]))
    def an_operator_forces(self, which):
        self.breaker.force(which)
        if which != self.reference.forced:
            self.reference.forced = which
            self.reference.become("open" if which == "open" else "closed")

    @invariant()
    def both_agree(self):
        breaker = self.breaker
        reference = self.reference
        now = breaker.snapshot()
        assert (breaker.state, breaker.forced, breaker.closed) == (
            reference.state,
            reference.forced,
            reference.state == "closed",
        )
        assert breaker.admits == reference.may_pass()
        if reference.plan.failure_rate and reference.state == "closed":
            assert (now.window_batches, now.window_failures) == (
                len(reference.recent()),
                sum(reference.recent()),
            )
        assert now.opened == self.transitions.states.count("open")
        assert all(a.new == b.old for a, b in itertools.pairwise(self.transitions))


TestCircuitAgainstTheReference = CircuitMachine.TestCase
TestCircuitAgainstTheReference.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
