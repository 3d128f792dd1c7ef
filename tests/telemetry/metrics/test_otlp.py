"""Metrics over OTLP: the numbers of the text, through OpenTelemetry's own exporters."""

from __future__ import annotations

import asyncio
import http.server
import math
import threading
import time
from concurrent import futures

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricExportResult,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from gateway.records.histogram_bounds import TIME_BOUNDS_S
from gateway.telemetry.metrics import metric_names as names
from gateway.telemetry.metrics.families import Buckets, Portion, Series
from gateway.telemetry.metrics.metric_exporters import ExportTimes, export_times, make_exporter
from gateway.telemetry.metrics.otlp import MetricsExport, metrics_data
from gateway.telemetry.metrics.prometheus import encode

OF = (("model", "digits"), ("version", "2"))
PORTIONS = [
    Portion(
        (
            (
                Series(names.REQUEST_DURATION, (*OF, ("outcome", "answered"))),
                Buckets(tuple(range(17)), 2.5),
            ),
            (Series(names.REQUEST_DURATION, (*OF, ("outcome", "failed"))), Buckets((1,) * 17, 1.5)),
            (Series(names.REQUESTS, (*OF, ("status", "OK"), ("reason", ""))), 7),
            (
                Series(
                    names.REQUESTS, (*OF, ("status", "NOT_FOUND"), ("reason", "model_not_found"))
                ),
                3,
            ),
            (Series(names.LOOP_LAG, (("process", "0"),)), 0.25),
        )
    ),
    Portion(((Series(names.READY), 1),)),
]
RESOURCE = Resource.create({"service.name": "somebody"})


def encoded(portions=PORTIONS):
    """The metrics as they stand on the wire, by name."""
    request = encode_metrics(metrics_data(portions, RESOURCE, 5, 9))
    return {
        metric.name: metric
        for metric in ExportMetricsServiceRequest.FromString(request.SerializeToString())
        .resource_metrics[0]
        .scope_metrics[0]
        .metrics
    }


def attributes(point):
    return {each.key: each.value.string_value for each in point.attributes}


def test_a_histogram_has_the_buckets_it_was_counted_in():
    metric = encoded()["rpc.server.call.duration"]
    point, failed = metric.histogram.data_points

    assert metric.unit == "s"
    assert tuple(point.explicit_bounds) == TIME_BOUNDS_S
    assert (tuple(point.bucket_counts), point.count, point.sum) == (tuple(range(17)), 136, 2.5)
    assert (point.start_time_unix_nano, point.time_unix_nano, point.HasField("min")) == (
        5,
        9,
        False,
    )
    assert metric.histogram.aggregation_temporality == 2
    assert attributes(point) == {
        "gateway.model.name": "digits", "gateway.model.version": "2", "gateway.outcome": "answered",
        "rpc.system.name": "grpc",
    }  # fmt: skip
    assert attributes(failed)["error.type"] == "_OTHER"


def test_counters_and_gauges_are_what_opentelemetry_calls_them():
    found = encoded()
    requests = found["gateway.requests"].sum

    assert requests.is_monotonic
    assert [
        (
            point.as_int,
            attributes(point).get("error.type"),
            attributes(point)["rpc.response.status_code"],
        )
        for point in requests.data_points
    ] == [
        (7, None, "OK"),
        (3, "model_not_found", "NOT_FOUND"),
    ]
    assert found["gateway.event_loop.lag"].gauge.data_points[0].as_double == 0.25
    assert found["gateway.ready"].gauge.data_points[0].as_int == 1


def test_the_text_for_prometheus_shows_the_same_numbers():
    text = {
        (s.name, *sorted(s.labels.values())): s.value
        for f in text_string_to_metric_families(encode(PORTIONS)[0].decode())
        for s in f.samples
    }
    found = encoded()

    for point in found["rpc.server.call.duration"].histogram.data_points:
        outcome = attributes(point)["gateway.outcome"]
        of = sorted(("2", outcome, "digits"))
        assert text["gateway_request_duration_seconds_count", *of] == point.count
        assert text["gateway_request_duration_seconds_sum", *of] == point.sum
        below = 0
        for bound, count in zip(
            (*point.explicit_bounds, math.inf), point.bucket_counts, strict=True
        ):
            below += count
            le = "+Inf" if bound == math.inf else str(bound)
            assert text["gateway_request_duration_seconds_bucket", *sorted((*of, le))] == below
    assert [point.as_int for point in found["gateway.requests"].sum.data_points] == [
        v for (name, *_), v in text.items() if name == "gateway_requests_total"
    ]


class Kept(MetricExporter):
    """An exporter that keeps what it is given, or refuses it, or fails as the test wants."""

    def __init__(self, *results) -> None:
        super().__init__()
        self.results = list(results)
        self.got = []
        self.closed = False

    def export(self, metrics_data, timeout_millis=10_000, **_):
        self.got.append(metrics_data)
        result = self.results.pop(0) if self.results else MetricExportResult.SUCCESS
        if isinstance(result, Exception):
            raise result
        return result

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **_):
        self.closed = True


def export(exporter, *, interval_s=0.01, collect=lambda: PORTIONS):
    return MetricsExport(
        exporter, collect, resource=RESOURCE, started_s=1.0, interval_s=interval_s, timeout_s=10
    )


async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_it_sends_at_every_interval_and_goes_on_whatever_the_exporter_does():
    exporter = Kept(MetricExportResult.FAILURE, RuntimeError("no"), OSError("no"))

    async def run():
        async with export(exporter) as sending:
            await until(lambda: sending.sent >= 3)
            assert sending.failed == 3
            return sending

    sending = asyncio.run(run())
    assert exporter.closed
    assert sending.sent + sending.failed == len(exporter.got)
    assert repr(sending).startswith("<MetricsExport Kept every 0.01 s, ")


def test_the_last_numbers_are_sent_at_the_end():
    exporter = Kept()

    async def run():
        async with export(exporter, interval_s=3600):
            assert exporter.got == []

    asyncio.run(run())
    assert len(exporter.got) == 1
    assert exporter.closed


def test_numbers_that_cannot_be_collected_are_a_failure_and_no_end():
    turns = iter([RuntimeError("no"), PORTIONS, PORTIONS, PORTIONS])

    def collect():
        turn = next(turns, PORTIONS)
        if isinstance(turn, Exception):
            raise turn
        return turn

    async def run():
        async with export(Kept(), collect=collect) as sending:
            await until(lambda: sending.sent)
            assert sending.failed == 1

    asyncio.run(run())


def test_a_receiver_that_hangs_does_not_hold_up_the_end():
    let = threading.Event()

    class Hanging(Kept):
        def export(self, metrics_data, **_):
            self.got.append(metrics_data)
            let.wait()
            return MetricExportResult.FAILURE

    async def run():
        exporter = Hanging()
        async with export(exporter):
            await until(lambda: exporter.got)
            ending = time.monotonic()
        return time.monotonic() - ending

    try:
        assert asyncio.run(run()) < 5
    finally:
        let.set()


class GrpcReceiver(MetricsServiceServicer):
    def __init__(self) -> None:
        self.got = []
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        add_MetricsServiceServicer_to_server(self, self._server)
        self.url = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request, context):  # noqa: N802  # gRPC's name
        self.got.append(request)
        return ExportMetricsServiceResponse()

    def close(self):
        self._server.stop(0)


class HttpReceiver:
    def __init__(self) -> None:
        got = []
        self.got = got

        class Taker(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                got.append(ExportMetricsServiceRequest.FromString(body))
                assert self.path == "/v1/metrics"
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize(
    ("protocol", "receiver"), [("grpc", GrpcReceiver), ("http/protobuf", HttpReceiver)]
)
def test_a_receiver_gets_them_over_either_protocol(monkeypatch, protocol, receiver):
    taking = receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taking.url)

    async def run():
        async with export(make_exporter("otlp", protocol, {}), interval_s=3600):
            pass

    asyncio.run(run())
    taking.close()
    (request,) = taking.got
    assert {metric.name for metric in request.resource_metrics[0].scope_metrics[0].metrics} == set(
        encoded()
    )
    assert {
        each.key: each.value.string_value
        for each in request.resource_metrics[0].resource.attributes
    }["service.name"] == "somebody"


def test_the_console_is_opentelemetry_s_own():
    assert type(make_exporter("console", "grpc", {})) is ConsoleMetricExporter


def test_prometheus_as_an_exporter_is_what_is_always_there():
    assert make_exporter("prometheus", "grpc", {}) is None


def test_an_exporter_that_nobody_has_is_named():
    with pytest.raises(
        ValueError, match="no package that is installed has an exporter 'carrier_pigeon'"
    ):
        make_exporter("carrier_pigeon", "grpc", {})


def test_times_are_milliseconds_of_the_environment():
    assert export_times({}) == ExportTimes(60, 30)
    assert export_times(
        {"OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_METRIC_EXPORT_TIMEOUT": " "}
    ) == ExportTimes(0.5, 30)
    for text in ("0", "-1", "nan", "inf", "soon"):
        with pytest.raises(ValueError, match="OTEL_METRIC_EXPORT_TIMEOUT must be milliseconds"):
            export_times({"OTEL_METRIC_EXPORT_TIMEOUT": text})


def test_deltas_are_refused_in_words(caplog):
    make_exporter("console", "grpc", {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"})

    assert "cumulative" in caplog.text
