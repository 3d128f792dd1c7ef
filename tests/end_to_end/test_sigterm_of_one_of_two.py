"""One of two gateways is told to stop while callers of both go on."""

from __future__ import annotations

import json
import os
import time

import grpc
import pytest

from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, answered_so_far, take_time, until
from tests.support.failover import OPTIONS, WatchingClient

pytestmark = pytest.mark.alone  # times are compared

STOPS = int(os.environ.get("GATEWAY_TEST_STOPS", "4"))
"""How many stops are tried, some three seconds each; GATEWAY_TEST_STOPS=20 gives more certainty."""
SERVE = ("--processes", "1", "--drain-delay", "700ms", "--http-port", "off")
CLIENT_SIDE_HEALTH = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}
)


@pytest.fixture
def two(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    graphs.patient(models, "patient")
    first = gateway(*SERVE).start().wait_ready()  # alone, since it inspects for both
    second = gateway(*SERVE).start().wait_ready()
    return first, second


@pytest.mark.timeout(60 + 15 * STOPS)
def test_callers_that_watch_health_lose_no_call(two):
    """Each gateway in turn is stopped by SIGTERM and started again.

    Calls that were accepted are answered, even those that take a second and a half.
    """
    exits = []
    took_long = []
    with WatchingClient([one.address for one in two]) as client:
        until(lambda: client.serving(0) and client.serving(1))
        with Callers(client.infer, "scale", 4, pause_s=0.002) as callers:
            for stop in range(STOPS):
                callers.go_on()
                stopped = two[stop % 2]
                with stopped.channel() as channel:
                    long_call = GRPCInferenceServiceStub(channel).ModelInfer.future(
                        take_time("patient", 800_000), timeout=60
                    )
                    time.sleep(0.1)
                    exits.append(stopped.stop())
                    took_long.append(long_call.exception(0))
                callers.go_on()
                stopped.start()
                until(lambda stop=stop: client.serving(stop % 2))

    assert exits == [0] * STOPS
    assert took_long == [None] * STOPS
    assert callers.failures == []
    assert {outcome.factor for outcome in callers.outcomes} == {2.0}


def test_grpcs_own_health_checking_loses_no_call(two):
    """No call is lost either where callers leave the watching to gRPC.

    They use round_robin over both addresses, with healthCheckConfig.
    """
    target = "ipv4:" + ",".join(one.address for one in two)
    with grpc.insecure_channel(
        target, options=[("grpc.service_config", CLIENT_SIDE_HEALTH), *OPTIONS]
    ) as channel:
        stub = GRPCInferenceServiceStub(channel)
        with Callers(
            lambda _, request: stub.ModelInfer(request, timeout=30), "scale", 4, pause_s=0.002
        ) as callers:
            for stopped in two:
                callers.go_on()
                assert stopped.stop() == 0
                callers.go_on()
                stopped.start().wait_ready()
                with stopped.channel() as counts:
                    # callers use it again
                    until(lambda counts=counts: answered_so_far(counts, "scale") > 10)

    assert callers.failures == []
