"""What a section gives reaches the fields of its plan by their names."""

import msgspec
import pytest

from gateway.config.quantities import ByteSize, Duration
from gateway.control.models.configuration.admission_configuration import Admission
from gateway.control.models.configuration.execution_configuration import (
    Batching,
    Queue,
    SessionOptions,
)
from gateway.control.models.configuration.protection_configuration import Breaker, Fallback, Retry
from gateway.control.models.configuration.worker_configuration import Remote, Workers
from gateway.control.models.planning.given_values import given_values

MADE_OTHERWISE = {
    SessionOptions: {"execution_mode"},
    Fallback: {"cache", "on"},
    Admission: {"quota"},
    Workers: {"kind"},
    Remote: {"token_env"},
}
"""Fields that have another form in the plan than in model.yaml."""


def test_what_is_not_given_stays_as_the_plan_has_it():
    assert given_values(Queue()) == {}


def test_values_are_plain_because_other_processes_read_them():
    given = given_values(Queue(max_bytes=ByteSize(7), default_timeout_s=Duration(0.5)))
    assert given == {"max_bytes": 7, "default_timeout_s": 0.5}
    assert [type(value) for value in given.values()] == [int, float]


def test_a_field_can_be_left_to_who_makes_more_of_it():
    assert given_values(Queue(max_requests=3, priority_levels=2), "priority_levels") == {
        "max_requests": 3
    }


@pytest.mark.parametrize(
    "section",
    [Batching, Queue, SessionOptions, Breaker, Retry, Fallback, Admission, Workers, Remote],
)
def test_a_section_has_the_names_of_its_plan(section):
    planned = {field.name for field in msgspec.structs.fields(section.PLAN)}
    assert set(section.__struct_fields__) - MADE_OTHERWISE.get(section, set()) <= planned
    assert issubclass(section, msgspec.Struct)
