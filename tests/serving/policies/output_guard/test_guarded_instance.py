"""An instance behind the output guard is the same instance, except that bad outputs are refused."""

import math

import numpy as np
import pytest

from gateway.core.errors import InstanceFailed, OutputRefused
from gateway.core.instance import Instance, Work
from gateway.core.protection import OutputGuardPlan
from gateway.serving.policies.output_guard.guarded_instance import GuardedInstance
from gateway.serving.policies.output_guard.output_guard import OutputGuard
from tests.support.fallback_parts import version_plan


class Elsewhere:
    """An instance that keeps the work it is given."""

    name = "10.0.0.7:8001"
    capacity = 3
    available = True
    expected_s = 0.25

    def __init__(self):
        self.given = []
        self.changed = []

    def watch(self, changed):
        self.changed.append(changed)

    def run(self, work, done):
        self.given.append((work, done))


class OneBatch:
    """A work that keeps what becomes of it."""

    rows = 2
    wanted = (0,)
    deadline = 12.5
    input_bytes = 16
    alone = True
    number = 7
    requests = ()

    def __init__(self):
        self.finished = []
        self.error = None
        self.rooms = []

    def collate(self, room=None):
        self.rooms.append(room)
        return {"x": np.zeros((2, 2), "f4")}

    def finish(self, outputs):
        self.finished.append(outputs)

    def fail(self, error):
        self.error = error


@pytest.fixture
def inner():
    return Elsewhere()


@pytest.fixture
def guarded(inner):
    return GuardedInstance(inner, OutputGuard(version_plan(guard=OutputGuardPlan(finite=("y",)))))


@pytest.fixture
def work():
    return OneBatch()


@pytest.fixture
def seen(guarded, inner, work):
    """The work as the inner instance sees it."""
    guarded.run(work, lambda: None)
    return inner.given[0][0]


def properties(protocol):
    return [name for name, member in vars(protocol).items() if isinstance(member, property)]


@pytest.mark.parametrize("name", properties(Instance))
def test_all_that_is_known_of_an_instance_is_the_inner_ones(guarded, inner, name):
    assert getattr(guarded, name) == getattr(inner, name)


@pytest.mark.parametrize("name", properties(Work))
def test_all_that_is_known_of_a_work_is_the_works_own(seen, work, name):
    assert getattr(seen, name) == getattr(work, name)


def test_it_is_up_and_down_with_the_inner_one_and_changes_are_told(guarded, inner):
    told = []
    guarded.watch(lambda: told.append(guarded.available))
    inner.available = False
    for changed in inner.changed:
        changed()
    assert told == [False]


def test_the_end_of_a_run_is_told_by_the_inner_one(guarded, inner, work):
    told = []
    guarded.run(work, lambda: told.append("done"))
    inner.given[0][1]()
    assert told == ["done"]


def test_answers_that_are_ones_pass_as_they_are(seen, work):
    outputs = [np.ones((2, 2), "f4")]
    seen.finish(outputs)
    assert len(work.finished) == 1
    assert work.finished[0][0] is outputs[0]
    assert work.error is None


def test_an_answer_that_is_none_fails_the_work_and_never_finishes_it(seen, work):
    seen.finish([np.array([[1, 2], [3, math.nan]], "f4")])
    assert work.finished == []
    assert isinstance(work.error, OutputRefused)
    assert "'y'" in str(work.error)
    assert seen.error is work.error


def test_a_failure_of_the_instance_stays_its_own(seen, work):
    error = InstanceFailed("the connection was lost")
    seen.fail(error)
    assert work.error is error


@pytest.mark.parametrize("room", [None, np.empty])
def test_inputs_are_collated_into_the_room_that_the_instance_gives(seen, work, room):
    assert list(seen.collate(room)) == ["x"]
    assert work.rooms == [room]
