"""Circuit breakers on a clock that tests move."""

from gateway.core.protection import BreakerPlan
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker, Outcome


class Clock:
    """A clock of monotonic seconds that is moved by hand."""

    def __init__(self, at=1000.0):
        self.at = at

    def __call__(self):
        return self.at


class Transitions(list):
    """A listener of a circuit breaker that keeps the transitions in their order."""

    def __call__(self, transition):
        self.append(transition)

    @property
    def states(self):
        return [transition.new for transition in self]


def breaker(**plan):
    """A circuit breaker, its clock and the transitions that it reports."""
    clock = Clock()
    transitions = Transitions()
    return CircuitBreaker("m 1", BreakerPlan(**plan), clock, transitions), clock, transitions


def batch(subject, outcome, elapsed_s=0.001, error=None):
    """A batch that begins and ends at once."""
    if outcome is Outcome.FAILURE and error is None:
        error = ValueError("no memory")
    subject.end(subject.begin(), outcome, elapsed_s, error)


def fail(subject, times=1):
    for _ in range(times):
        batch(subject, Outcome.FAILURE)


def succeed(subject, times=1):
    for _ in range(times):
        batch(subject, Outcome.SUCCESS)
