"""All circuit breakers of a process, and the modes that an operator forces."""

from gateway.core.protection import BreakerPlan
from gateway.serving.policies.breaker.breaker_registry import BreakerRegistry
from tests.support.breaker_parts import Clock, Transitions, fail

PLAN = BreakerPlan(consecutive_failures=1)
KEY = ("m", 1, "")
INSTANCE = ("m", 1, "worker 1")


def registry():
    transitions = Transitions()
    return BreakerRegistry(Clock(), transitions), transitions


def states(breakers):
    return {key: (snapshot.state, snapshot.forced) for key, snapshot in breakers.snapshots()}


def test_each_version_and_instance_has_a_circuit_of_its_own():
    breakers, transitions = registry()
    breakers.add(INSTANCE, PLAN)
    fail(breakers.add(KEY, PLAN))
    assert states(breakers) == {KEY: ("open", ""), INSTANCE: ("closed", "")}
    assert [key for key, _ in breakers.snapshots()] == [KEY, INSTANCE]
    assert [transition.name for transition in transitions] == ["'m' version 1"]
    assert repr(breakers) == "<BreakerRegistry 2, not closed: 'm' version 1>"


def test_what_is_forced_holds_for_those_that_are_there_and_for_those_to_come():
    breakers, _ = registry()
    breakers.add(KEY, PLAN)
    breakers.force({KEY: "open", INSTANCE: "closed"})
    later = breakers.add(INSTANCE, PLAN)
    assert states(breakers) == {KEY: ("open", "open"), INSTANCE: ("closed", "closed")}
    assert later.name == "'m' version 1 on worker 1"


def test_what_is_not_named_decides_for_itself_again_and_saying_so_twice_changes_nothing():
    breakers, _ = registry()
    automatic = breakers.add(KEY, PLAN)
    forced = breakers.add(INSTANCE, PLAN)
    breakers.force({INSTANCE: "open"})
    fail(automatic)
    breakers.force({INSTANCE: "open"})
    assert states(breakers) == {KEY: ("open", ""), INSTANCE: ("open", "open")}
    breakers.force({})
    assert states(breakers) == {KEY: ("open", ""), INSTANCE: ("closed", "")}
    fail(forced)
    assert forced.state == "open"


def test_a_version_that_is_loaded_anew_has_two_circuits_until_the_old_one_is_gone():
    breakers, _ = registry()
    old = breakers.add(KEY, PLAN)
    new = breakers.add(KEY, PLAN)
    fail(new)
    assert states(breakers) == {KEY: ("closed", "")}
    breakers.force({KEY: "open"})
    assert (old.forced, new.forced) == ("open", "open")
    breakers.force({})
    fail(new)
    breakers.remove(KEY, old)
    assert states(breakers) == {KEY: ("open", "")}
    breakers.remove(KEY, new)
    assert breakers.snapshots() == ()


def test_what_is_forced_outlives_the_circuit():
    breakers, _ = registry()
    breakers.force({KEY: "open"})
    breakers.remove(KEY, breakers.add(KEY, PLAN))
    assert breakers.add(KEY, PLAN).forced == "open"


def test_an_operator_can_force_the_breaker_of_a_version_that_has_it_switched_off():
    breakers, _ = registry()
    breaker = breakers.add(KEY, BreakerPlan(enabled=False))
    breakers.force({KEY: "open"})
    assert not breaker.closed
