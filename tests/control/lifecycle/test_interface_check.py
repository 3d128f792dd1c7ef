"""Which versions are refused at a swap because their callers could not call them."""

from msgspec.structs import replace

from gateway.control.lifecycle.interface_check import refused_interfaces
from gateway.core.plan import TensorSpec, VersionPlan

ALLOWED = "; `allow_interface_change: true` in model.yaml lets it pass"


def plan(number, width=4, model="m"):
    inputs = (TensorSpec("x", "FP32", (-1, width)),)
    return VersionPlan(model, number, "", f"{number} {width}", inputs, ())


def live(*plans):
    return {each.key: each for each in plans}


def test_a_newer_version_is_compared_with_the_newest_live_one():
    assert refused_interfaces("m", live(plan(1), plan(2)), [plan(3, width=5)]) == {
        3: "its interface is not that of version 2: input 'x' was FP32 [-1,4] and is FP32 [-1,5]"
        + ALLOWED
    }
    assert refused_interfaces("m", live(plan(1)), [plan(2)]) == {}


def test_changed_files_of_a_version_are_compared_with_what_is_live_of_it():
    assert refused_interfaces("m", live(plan(1)), [plan(1, width=5)]) == {
        1: "its interface is not that of version 1 as it is live: input 'x' was FP32 [-1,4] and is "
        "FP32 [-1,5]" + ALLOWED
    }


def test_an_older_version_beside_the_newest_takes_nobodys_place():
    assert refused_interfaces("m", live(plan(2)), [plan(1, width=5), plan(2)]) == {}


def test_an_older_version_that_takes_the_place_of_the_newest_is_compared():
    assert list(refused_interfaces("m", live(plan(2)), [plan(1, width=5)])) == [1]


def test_where_nothing_of_the_model_is_live_nothing_is_refused():
    assert refused_interfaces("m", live(plan(1, model="n")), [plan(1, width=5)]) == {}


def test_a_model_whose_configuration_allows_it_is_let_pass():
    allowed = replace(plan(2, width=5), allow_interface_change=True)
    assert refused_interfaces("m", live(plan(1)), [allowed]) == {}
