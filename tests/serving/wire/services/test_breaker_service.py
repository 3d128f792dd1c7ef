"""ListBreakers and SetBreaker."""

import math

import grpc
import pytest

from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.protocol.generated import gateway_control_pb2 as pb
from gateway.records.breaker_state import Snapshot, Survey
from gateway.serving.wire.security.authorization import AuthorizationOptions
from tests.support.service_parts import Served, two_versions

ELSEWHERE = [("x-forwarded-for", "203.0.113.7")]
CLOSED = Snapshot("m 1", "closed", "", 0, 10, 1, 0.0, 0, "")
OPEN = Snapshot("m 2", "open", "", 5, 20, 12, 3.25, 2, "no memory")
FORCED = Snapshot("m 2 on worker 1", "open", "open", 0, 0, 0, math.inf, 1, "")
SURVEY = Survey(
    forced={("m", 2, "worker 1"): "open", ("gone", 1, ""): "closed"},
    reports={
        0: ((("m", 1, ""), CLOSED), (("m", 2, ""), OPEN), (("m", 2, "worker 1"), FORCED)),
        1: ((("m", 1, ""), CLOSED), (("single", 7, ""), CLOSED)),
        2: None,
    },
)


@pytest.fixture
def surveyed(served):
    served.start_up(*two_versions())
    served.control.answer = SURVEY
    return served


def listed(served, **request):
    return served.control_stub.ListBreakers(pb.ListBreakersRequest(**request), timeout=10)


def names(response):
    return [(each.model, each.version, each.instance) for each in response.breakers]


def set_breaker(served, mode=pb.FORCE_OPEN, metadata=(), **request):
    return served.control_stub.SetBreaker(
        pb.SetBreakerRequest(mode=mode, **request), timeout=10, metadata=metadata
    )


def test_every_breaker_is_listed_with_its_state_in_each_process(surveyed):
    response = listed(surveyed)
    assert names(response) == [
        ("gone", "1", ""),
        ("m", "1", ""),
        ("m", "2", ""),
        ("m", "2", "worker 1"),
        ("single", "7", ""),
    ]
    assert list(response.silent_processes) == [2]
    gone, both, opened, forced, other = response.breakers
    assert (gone.mode, list(gone.processes)) == (pb.FORCE_CLOSED, [])
    assert [(each.process, each.state) for each in both.processes] == [
        (0, pb.CLOSED),
        (1, pb.CLOSED),
    ]
    assert opened == pb.Breaker(
        model="m",
        version="2",
        mode=pb.AUTOMATIC,
        processes=[
            pb.ProcessBreaker(
                process=0,
                state=pb.OPEN,
                consecutive_failures=5,
                window_batches=20,
                window_failures=12,
                retry_in_s=3.25,
                opened=2,
                last_error="no memory",
            )
        ],
    )
    assert (forced.mode, forced.processes[0].retry_in_s) == (pb.FORCE_OPEN, math.inf)
    assert [each.process for each in other.processes] == [1]
    assert surveyed.control.asked == [("breakers", "", {})]


def test_a_model_or_one_of_its_versions_is_listed_alone(surveyed):
    assert names(listed(surveyed, model="m")) == [
        ("m", "1", ""),
        ("m", "2", ""),
        ("m", "2", "worker 1"),
    ]
    assert names(listed(surveyed, model="m", version="1")) == [("m", "1", "")]


def test_a_model_or_version_that_nobody_knows_is_not_found(surveyed, refused):
    stub = surveyed.control_stub
    for method, request in (
        (stub.ListBreakers, pb.ListBreakersRequest),
        (stub.SetBreaker, lambda **named: pb.SetBreakerRequest(mode=1, **named)),
    ):
        assert refused(method, request(model="none")) == (
            grpc.StatusCode.NOT_FOUND,
            "there is no model 'none'",
        )
        assert refused(method, request(model="m", version="9")) == (
            grpc.StatusCode.NOT_FOUND,
            "model 'm' has no version 9 (versions: 1, 2)",
        )
    assert surveyed.control.asked == []


def test_setting_is_asked_of_the_control_side_for_the_version(surveyed):
    response = set_breaker(surveyed, model="m", version="2")
    assert [(each.model, each.version, each.instance) for each in response.breakers] == [
        ("m", "2", "")
    ]
    assert surveyed.control.asked == [("breakers", "m", {"keys": (("m", 2, ""),), "mode": "open"})]


@pytest.mark.parametrize(("mode", "word"), [(pb.AUTOMATIC, ""), (pb.FORCE_CLOSED, "closed")])
def test_without_a_version_all_are_set_and_what_is_to_pass_has_to_pass_their_instances(
    surveyed, mode, word
):
    set_breaker(surveyed, mode, model="m")
    assert surveyed.control.asked[-1] == (
        "breakers",
        "m",
        {"keys": (("m", 1, ""), ("m", 2, ""), ("m", 2, "worker 1")), "mode": word},
    )


def test_a_version_that_is_not_live_can_be_set(served):
    served.publish(IndexEntry("m", "3", VersionState.UNAVAILABLE, "broken"))
    set_breaker(served, model="m", version="3")
    assert served.control.asked == [("breakers", "m", {"keys": (("m", 3, ""),), "mode": "open"})]


def test_an_instance_is_set_where_there_is_one(surveyed, refused):
    response = set_breaker(surveyed, model="m", instance="worker 1")
    assert [(each.version, each.instance) for each in response.breakers] == [("2", "worker 1")]
    assert surveyed.control.asked[-1] == (
        "breakers",
        "m",
        {"keys": (("m", 2, "worker 1"),), "mode": "open"},
    )
    code, text = refused(
        surveyed.control_stub.SetBreaker,
        pb.SetBreakerRequest(mode=pb.FORCE_OPEN, model="m", instance="worker 9"),
    )
    assert (code, text) == (
        grpc.StatusCode.NOT_FOUND,
        "model 'm' has no instance 'worker 9' with a breaker of its own (instances: worker 1)",
    )


def test_a_mode_that_is_left_out_or_unknown_is_invalid(surveyed, refused):
    for mode in (pb.BREAKER_MODE_UNSPECIFIED, 17):
        assert (
            refused(surveyed.control_stub.SetBreaker, pb.SetBreakerRequest(model="m", mode=mode))[0]
            is grpc.StatusCode.INVALID_ARGUMENT
        )
    assert (
        refused(surveyed.control_stub.SetBreaker, pb.SetBreakerRequest(mode=pb.FORCE_OPEN))[1]
        == "'model' is empty: name the model"
    )


def test_before_the_first_publication_nothing_can_be_set(served, refused):
    assert (
        refused(
            served.control_stub.SetBreaker, pb.SetBreakerRequest(mode=pb.FORCE_OPEN, model="m")
        )[0]
        is grpc.StatusCode.UNAVAILABLE
    )


def test_all_may_look_and_only_who_may_change_the_server_may_set():
    with Served(AuthorizationOptions(token="secret")) as served:
        served.start_up(*two_versions())
        served.control.answer = SURVEY
        assert served.control_stub.ListBreakers(
            pb.ListBreakersRequest(), timeout=10, metadata=ELSEWHERE
        ).breakers
        with pytest.raises(grpc.RpcError) as refused:
            set_breaker(served, model="m", metadata=ELSEWHERE)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert set_breaker(
            served, model="m", metadata=[*ELSEWHERE, ("authorization", "Bearer secret")]
        ).breakers
        assert set_breaker(served, model="m").breakers
