"""A real Prometheus sees what two serving processes did together.

It does so whatever becomes of one of them.
"""

from __future__ import annotations

import os
import signal
import urllib.request

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from tests.support import graphs
from tests.support.callers import Callers, answered_so_far, multiply, over, until
from tests.support.connections import connect_to_each
from tests.support.scraping import Prometheus

OF = 'model="scale",version="1"'
ANSWERED = f'gateway_requests_total{{{OF},status="OK"}}'


@pytest.fixture
def served(gateway, models):
    graphs.scale(models, "scale", factor=2.0)
    with gateway("--processes", "2") as running:
        yield running


@pytest.fixture
def prometheus(served, tmp_path):
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with Prometheus(folder, [served.http_port]) as started:
        yield started


def metrics(served, query=""):
    with urllib.request.urlopen(
        f"http://127.0.0.1:{served.http_port}/metrics{query}", timeout=10
    ) as response:
        return response.read().decode()


def answered_by_now(served):
    """What /metrics shows at this moment, independent of the last scrape."""
    families = text_string_to_metric_families(metrics(served))
    of = {"model": "scale", "status": "OK"}
    return sum(
        s.value
        for family in families
        for s in family.samples
        if s.name == "gateway_requests_total" and of.items() <= s.labels.items()
    )


def test_the_sums_are_those_of_the_callers_under_load(served, prometheus, connect):
    channels = [
        channel for those in connect_to_each(served, connect, each=2).values() for channel in those
    ]
    with Callers(over(channels), "scale", count=len(channels)) as callers:
        callers.go_on(2000)
    answered = len(callers.answered())
    assert callers.failures == []

    until(lambda: prometheus.value(f"sum({ANSWERED})") == answered)
    until(lambda: prometheus.value(f"gateway_inference_rows_total{{{OF}}}") == answered)

    assert (
        prometheus.value(f'gateway_request_duration_seconds_count{{{OF},outcome="answered"}}')
        == answered
    )
    assert (
        prometheus.value(
            f'gateway_request_duration_seconds_bucket{{{OF},outcome="answered",le="+Inf"}}'
        )
        == answered
    )
    assert prometheus.value(f"gateway_batch_size_rows_sum{{{OF}}}") == answered
    batches = prometheus.value(f"gateway_batches_total{{{OF}}}")
    assert (
        batches
        == prometheus.value(f"gateway_compute_duration_seconds_count{{{OF}}}")
        == prometheus.value(f"gateway_batch_size_rows_count{{{OF}}}")
    )
    assert (
        0
        < prometheus.value(
            f"gateway_request_duration_seconds_sum{{{OF}}} / gateway_request_duration_seconds_count"
        )
        < 1
    )
    assert prometheus.value(f"gateway_input_bytes_total{{{OF}}}") == answered * 16
    assert answered_so_far(channels[0], "scale") == answered
    assert prometheus.targets() == [("up", "")]


def test_a_process_that_is_killed_takes_no_counts_with_it(served, prometheus, connect):
    channels = [
        channel for those in connect_to_each(served, connect, each=2).values() for channel in those
    ]
    with Callers(over(channels), "scale", count=len(channels)) as callers:
        callers.go_on(500)
        until(lambda: prometheus.value(f"sum({ANSWERED})") > 0)
        os.kill(served.serving_pids()[0], signal.SIGKILL)
        until(lambda: len(served.serving_pids()) == 2)
        callers.go_on(500)
    answered = len(callers.answered())
    lost = len(callers.failures)

    def counted():
        return prometheus.value(f"sum({ANSWERED})")

    # A call whose answer was lost on its way may have been counted. An answered call is counted,
    # unless its process was killed before it could.
    until(lambda: answered - len(channels) <= counted() <= answered + lost)
    settled = until(lambda: (now := counted()) == answered_by_now(served) and now)
    channel = connect(served)
    for x in range(1, 101):
        GRPCInferenceServiceStub(channel).ModelInfer(multiply("scale", x), timeout=10)
    until(lambda: counted() == settled + 100)

    history = prometheus.history(ANSWERED)
    assert history == sorted(history)
    until(lambda: prometheus.value("sum(gateway_process_restarts_total)") == 1)
    until(lambda: prometheus.value("sum(gateway_process_up)") == 2)
    until(lambda: len(prometheus.values("gateway_process_resident_memory_bytes")) == 2)
    until(
        lambda: prometheus.values(
            'ALERTS{alertname="GatewayProcessRestarting",alertstate="firing"}'
        )
    )


def test_a_name_that_a_client_made_up_is_no_series(served, prometheus, connect):
    stub = GRPCInferenceServiceStub(connect(served))
    for number in range(20):
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(multiply(f"made up {number}", 1.0), timeout=10)

    until(
        lambda: prometheus.value('gateway_requests_total{model="",reason="model_not_found"}') == 20
    )
    assert "made up" not in metrics(served)


def test_an_unloaded_version_has_no_series_any_more(served, prometheus, connect):
    stub = GRPCInferenceServiceStub(connect(served))
    stub.ModelInfer(multiply("scale", 1.0), timeout=10)
    until(lambda: prometheus.value(ANSWERED) == 1)

    stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="scale"), timeout=30)

    until(lambda: prometheus.values(f"{{{OF}}}") == {})
    until(lambda: 'model="scale"' not in metrics(served))

    stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="scale"), timeout=60)
    until(lambda: prometheus.value(ANSWERED) == 1)


def test_triton_s_dashboards_find_their_names(served, tmp_path, connect):
    stub = GRPCInferenceServiceStub(connect(served))
    for x in (1.0, 2.0, 3.0):
        stub.ModelInfer(multiply("scale", x), timeout=10)

    until(
        lambda: (
            'nv_inference_request_success{model="scale",version="1"} 3'
            in metrics(served, "?names=triton")
        )
    )
    assert "# TYPE nv_inference_request_duration_us counter" in metrics(served, "?names=triton")
    assert "gateway_" not in metrics(served, "?names=triton")
