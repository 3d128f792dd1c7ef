"""grpc.health.v1 over the wire."""

import json

import grpc
import pytest

from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.protocol.generated.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
)
from tests.support.service_parts import plan, two_versions, wait_until

SERVICE = "inference.GRPCInferenceService"


def name(response):
    return HealthCheckResponse.ServingStatus.Name(response.status)


def check(served, service):
    return name(served.check(HealthCheckRequest(service=service), timeout=10))


def test_the_server_is_checked_by_the_empty_name_and_by_that_of_its_service(served):
    for service in ("", SERVICE):
        assert check(served, service) == "NOT_SERVING"
    served.publish(ready=True)
    for service in ("", SERVICE):
        assert check(served, service) == "SERVING"
    served.do(served.state.drain)
    for service in ("", SERVICE):
        assert check(served, service) == "NOT_SERVING"


def test_a_model_is_checked_by_its_name_and_by_that_of_its_version(served):
    served.make_live(*two_versions())
    served.publish(
        IndexEntry("m", "3", VersionState.LOADING),
        IndexEntry("broken", "1", VersionState.UNAVAILABLE, "no"),
        ready=False,
    )
    serving = {
        service: check(served, service)
        for service in ("m", "m/1", "m/2", "m/3", "single", "single/7", "broken", "broken/1")
    }
    assert [service for service, status in serving.items() if status == "SERVING"] == [
        "m",
        "m/1",
        "m/2",
        "single",
        "single/7",
    ]
    assert set(serving.values()) == {"SERVING", "NOT_SERVING"}


def test_no_model_is_serving_in_a_draining_server(served):
    served.start_up(*two_versions())
    served.do(served.state.drain)
    assert {check(served, service) for service in ("m", "m/1", "single")} == {"NOT_SERVING"}


@pytest.mark.parametrize(
    "service", ["nobody", "m/9", "m/", "m/01", "/1", "m/1/1", "grpc.health.v1.Health"]
)
def test_to_check_an_unknown_name_is_not_found(served, refused, service):
    served.start_up(*two_versions())
    code, text = refused(served.check, HealthCheckRequest(service=service))
    assert code is grpc.StatusCode.NOT_FOUND
    assert text.startswith(f"unknown service '{service}'")


def test_the_list_has_every_name_with_its_health(served):
    served.make_live(*two_versions())
    served.publish(
        IndexEntry("m", "1", VersionState.READY),
        IndexEntry("broken", "1", VersionState.UNAVAILABLE, "no"),
        IndexEntry("never"),
    )
    statuses = {
        service: name(each)
        for service, each in served.list(HealthListRequest(), timeout=10).statuses.items()
    }
    serving = dict.fromkeys(["", SERVICE, "m", "m/1", "m/2", "single", "single/7"], "SERVING")
    assert statuses == serving | dict.fromkeys(["broken", "broken/1", "never"], "NOT_SERVING")


def test_a_watch_tells_the_health_at_once_and_then_every_change(served):
    served.publish(ready=False)
    with served.watching("") as statuses:
        assert next(statuses) == "NOT_SERVING"
        served.publish(ready=True)
        assert next(statuses) == "SERVING"
        served.make_live(plan("m"))  # changes nothing of the server's health
        served.do(served.state.drain)
        assert next(statuses) == "NOT_SERVING"


def test_a_watch_of_an_unknown_name_waits_for_it_to_become_known(served):
    served.publish()
    with served.watching("m/2") as statuses:
        assert next(statuses) == "SERVICE_UNKNOWN"
        served.publish(IndexEntry("m", "2", VersionState.LOADING))
        assert next(statuses) == "NOT_SERVING"
        served.make_live(plan("m", 2))
        assert next(statuses) == "SERVING"
        served.publish()
        served.make_live(retire=[("m", 2)])
        assert next(statuses) == "SERVICE_UNKNOWN"


def test_watches_that_their_callers_leave_are_let_go(served):
    with served.watching("m") as first, served.watching("m") as second:
        assert [next(first), next(second)] == ["SERVICE_UNKNOWN"] * 2
        assert (
            served.do(lambda: repr(served.health)) == "<Health NOT_SERVING, 2 watches of 1 names>"
        )
    assert wait_until(
        lambda: (
            served.do(lambda: repr(served.health)) == "<Health NOT_SERVING, 0 watches of 0 names>"
        )
    )
    assert served.do(lambda: repr(served.streams)) == "<OpenStreams 0 waiting>"


def test_an_open_watch_does_not_hold_up_the_stop(served):
    served.publish()
    with served.watching("") as statuses:
        assert next(statuses) == "SERVING"
        served.do(served.state.drain)
        assert next(statuses) == "NOT_SERVING"
        served.do(served.streams.end)
        with pytest.raises(grpc.RpcError) as caught:
            next(statuses)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the server is stopping: open the stream anew, elsewhere"
    with served.watching("") as statuses, pytest.raises(grpc.RpcError) as caught:
        next(statuses)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_grpcs_own_client_follows_the_health_by_itself(served):
    """A channel with client-side health checking calls a server only while it is serving."""
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": "m"},
    }
    options = [("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1)]
    served.publish()
    with grpc.insecure_channel(served.address, options) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        served.make_live(plan("m"))
        assert call(b"", timeout=10, wait_for_ready=True) == b"\x08\x01"
        served.do(served.state.drain)
        assert wait_until(lambda: is_refused(call))


def is_refused(call):
    try:
        call(b"", timeout=10)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_watch_without_a_message_ends_by_itself(served):
    watch = served.channel.stream_stream("/grpc.health.v1.Health/Watch")
    assert list(watch(iter(()), timeout=10)) == []
