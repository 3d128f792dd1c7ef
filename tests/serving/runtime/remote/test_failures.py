"""Whose fault each status is: the caller's, the model's or the instance's."""

import grpc
import pytest

from gateway.core.errors import DeadlineExpired, InstanceFailed, ModelFailed
from gateway.serving.runtime.remote.failures import casts_doubt, failure

CODES = grpc.StatusCode
INSTANCE = {
    CODES.UNAVAILABLE, CODES.CANCELLED, CODES.DEADLINE_EXCEEDED, CODES.RESOURCE_EXHAUSTED,
    CODES.ABORTED, CODES.NOT_FOUND, CODES.UNIMPLEMENTED, CODES.PERMISSION_DENIED,
    CODES.UNAUTHENTICATED,
}  # fmt: skip


@pytest.mark.parametrize("code", [code for code in CODES if code is not CODES.OK])
def test_every_status_is_either_the_instances_fault_or_the_models(code):
    error = failure("there:1", code, "their words")
    assert type(error) is (InstanceFailed if code in INSTANCE else ModelFailed)
    assert str(error) == f"there:1: {code.name}: their words"


def test_the_end_of_the_callers_own_time_is_nobodys_failure():
    assert (
        type(failure("there:1", CODES.DEADLINE_EXCEEDED, "", by_callers_deadline=True))
        is DeadlineExpired
    )
    assert (
        type(failure("there:1", CODES.UNAVAILABLE, "", by_callers_deadline=True)) is InstanceFailed
    )


def test_being_busy_casts_no_doubt():
    assert {code for code in CODES if casts_doubt(code)} == INSTANCE - {CODES.RESOURCE_EXHAUSTED}


def test_a_message_too_large_for_the_server_says_what_to_do():
    text = "CLIENT: Received message larger than max (5000000 vs. 4194304)"
    assert "max_rows" in str(failure("there:1", CODES.RESOURCE_EXHAUSTED, text))
