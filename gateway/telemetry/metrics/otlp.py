"""Metrics as OpenTelemetry's exporters take them, sent by the telemetry process every minute.

They are the numbers that /metrics shows, under names of OpenTelemetry's kind.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.records.counting.counter_fields import FAILED
from gateway.telemetry.metrics.families import (
    Buckets,
    Family,
    Kind,
    Portion,
    Series,
    Value,
    by_family,
)
from gateway.telemetry.metrics.metric_names import ATTRIBUTES, OUTCOME, REQUEST_DURATION

_log = logging.getLogger(__name__)
_SCOPE: Final = InstrumentationScope("gateway")
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_ENDS_S: Final = 1.0
"""The time left to the last export: a receiver that hangs must not cost others theirs."""
# the smallest and largest of a histogram are not known, and may be left out
_NO_EXTREME: Final = cast("float", None)


def metrics_data(
    portions: Iterable[Portion], resource: Resource, started_ns: int, now_ns: int
) -> MetricsData:
    """All portions at one moment, as OpenTelemetry's exporters take them.

    Both times are nanoseconds of the Unix epoch; counting began at `started_ns`.
    """
    metrics = [
        _metric(family, samples, started_ns, now_ns)
        for family, samples in by_family(portions).items()
    ]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(_SCOPE, metrics, "")], "")])


def _metric(
    family: Family, samples: Sequence[tuple[Series, Value]], started_ns: int, now_ns: int
) -> Metric:
    data: Sum | Gauge | Histogram
    if family.kind is Kind.HISTOGRAM:
        data = Histogram(
            [
                _buckets(series, value, started_ns, now_ns)
                for series, value in samples
                if isinstance(value, Buckets)
            ],
            _CUMULATIVE,
        )
    else:
        points = [
            NumberDataPoint(_attributes(series), started_ns, now_ns, value)
            for series, value in samples
            if not isinstance(value, Buckets)
        ]
        data = (
            Gauge(points)
            if family.kind is Kind.GAUGE
            else Sum(points, _CUMULATIVE, is_monotonic=True)
        )
    return Metric(family.otlp_name, family.help, family.unit, data)


def _buckets(series: Series, value: Buckets, started_ns: int, now_ns: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=_attributes(series),
        start_time_unix_nano=started_ns,
        time_unix_nano=now_ns,
        count=sum(value.counts),
        sum=value.sum,
        bucket_counts=value.counts,
        explicit_bounds=series.family.bounds,
        min=_NO_EXTREME,
        max=_NO_EXTREME,
    )


def _attributes(series: Series) -> dict[str, str]:
    attributes = {ATTRIBUTES.get(name, name): value for name, value in series.labels if value}
    # the one that OpenTelemetry's conventions know, and ask for more
    if series.family is REQUEST_DURATION:
        attributes["rpc.system.name"] = "grpc"
        if (OUTCOME, FAILED) in series.labels:
            attributes["error.type"] = "_OTHER"
    return attributes


class MetricsExport:
    """Sends all metrics through an exporter, again and again, on a thread of its own.

    `async with` starts it, and sends a last time at the end.
    """

    def __init__(
        self,
        exporter: MetricExporter,
        collect: Callable[[], Sequence[Portion]],
        *,
        resource: Resource,
        started_s: float,
        interval_s: float,
        timeout_s: float,
    ) -> None:
        """`collect` is called on that thread.

        `started_s`: when counting began, in seconds of the Unix epoch.
        """
        self._exporter = exporter
        self._collect = collect
        self._resource = resource
        self._started_ns = int(started_s * 1e9)
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics export", daemon=True)
        self.sent = 0
        """How often a receiver has taken the metrics."""
        self.failed = 0
        """How often no receiver has taken them."""

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, _ENDS_S)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._send()
        self._send()
        try:
            self._exporter.shutdown()
        except Exception:  # noqa: BLE001  # any package's exporter
            _log.exception("%s could not be shut down", type(self._exporter).__name__)

    def _send(self) -> None:
        try:
            data = metrics_data(self._collect(), self._resource, self._started_ns, time.time_ns())
            result = self._exporter.export(data, timeout_millis=self._timeout_s * 1000)
        except Exception:  # noqa: BLE001
            # whatever an exporter raises, the next one may go through
            _log.warning("metrics were not exported", exc_info=not self.failed)
            result = MetricExportResult.FAILURE
        if result is MetricExportResult.SUCCESS:
            self.sent += 1
        else:
            self.failed += 1

    def __repr__(self) -> str:
        return (
            f"<MetricsExport {type(self._exporter).__name__} every {self._interval_s:g} s, "
            f"{self.sent} sent, {self.failed} failed>"
        )
