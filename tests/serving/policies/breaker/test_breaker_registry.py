"""All circuits of a process, and the operator's word about them."""

from gateway.core.protection import BreakerPlan
from gateway.serving.policies.breaker.breaker_registry import Circuits
from tests.support.breaker_parts import Clock, Told, fail

PLAN = BreakerPlan(consecutive_failures=1)
KEY = ("m", 1, "")
INSTANCE = ("m", 1, "worker 1")


def registry():
    told = Told()
    return Circuits(Clock(), told), told


def states(circuits):
    return {key: (snapshot.state, snapshot.forced) for key, snapshot in circuits.snapshots()}


def test_each_version_and_instance_has_a_circuit_of_its_own():
    circuits, told = registry()
    circuits.add(INSTANCE, PLAN)
    fail(circuits.add(KEY, PLAN))
    assert states(circuits) == {KEY: ("open", ""), INSTANCE: ("closed", "")}
    assert [key for key, _ in circuits.snapshots()] == [KEY, INSTANCE]
    assert [transition.name for transition in told] == ["'m' version 1"]
    assert repr(circuits) == "<Circuits 2, not closed: 'm' version 1>"


def test_what_is_forced_holds_for_those_that_are_there_and_for_those_to_come():
    circuits, _ = registry()
    circuits.add(KEY, PLAN)
    circuits.force({KEY: "open", INSTANCE: "closed"})
    later = circuits.add(INSTANCE, PLAN)
    assert states(circuits) == {KEY: ("open", "open"), INSTANCE: ("closed", "closed")}
    assert later.name == "'m' version 1 on worker 1"


def test_what_is_not_named_decides_for_itself_again_and_saying_so_twice_changes_nothing():
    circuits, _ = registry()
    automatic = circuits.add(KEY, PLAN)
    forced = circuits.add(INSTANCE, PLAN)
    circuits.force({INSTANCE: "open"})
    fail(automatic)
    circuits.force({INSTANCE: "open"})
    assert states(circuits) == {KEY: ("open", ""), INSTANCE: ("open", "open")}
    circuits.force({})
    assert states(circuits) == {KEY: ("open", ""), INSTANCE: ("closed", "")}
    fail(forced)
    assert forced.state == "open"


def test_a_version_that_is_loaded_anew_has_two_circuits_until_the_old_one_is_gone():
    circuits, _ = registry()
    old = circuits.add(KEY, PLAN)
    new = circuits.add(KEY, PLAN)
    fail(new)
    assert states(circuits) == {KEY: ("closed", "")}
    circuits.force({KEY: "open"})
    assert (old.forced, new.forced) == ("open", "open")
    circuits.force({})
    fail(new)
    circuits.remove(KEY, old)
    assert states(circuits) == {KEY: ("open", "")}
    circuits.remove(KEY, new)
    assert circuits.snapshots() == ()


def test_what_is_forced_outlives_the_circuit():
    circuits, _ = registry()
    circuits.force({KEY: "open"})
    circuits.remove(KEY, circuits.add(KEY, PLAN))
    assert circuits.add(KEY, PLAN).forced == "open"


def test_an_operator_can_force_the_breaker_of_a_version_that_has_it_switched_off():
    circuits, _ = registry()
    circuit = circuits.add(KEY, BreakerPlan(enabled=False))
    circuits.force({KEY: "open"})
    assert not circuit.closed
