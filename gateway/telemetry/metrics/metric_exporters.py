"""OpenTelemetry's exporters of metrics, by name, and how often the telemetry process uses them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, cast

from gateway.config.otlp_variables import fault, positive

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

_log = logging.getLogger(__name__)
_ENTRY_POINTS: Final = "opentelemetry_metrics_exporter"
_TEMPORALITY: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


@dataclass(frozen=True, slots=True)
class ExportTimes:
    """When metrics are exported."""

    interval_s: float = 60.0
    timeout_s: float = 30.0


def export_times(environment: Mapping[str, str]) -> ExportTimes:
    """What OTEL_METRIC_EXPORT_INTERVAL and OTEL_METRIC_EXPORT_TIMEOUT say. Raises ValueError."""
    return ExportTimes(
        _seconds(environment, "OTEL_METRIC_EXPORT_INTERVAL", 60.0),
        _seconds(environment, "OTEL_METRIC_EXPORT_TIMEOUT", 30.0),
    )


def make_exporter(
    name: str, protocol: str, environment: Mapping[str, str]
) -> MetricExporter | None:
    """The exporter of this name; None for `prometheus`, which is /metrics and always there.

    It reads its own variables itself (endpoint, headers, certificates, compression). Raises
    ValueError where no package that is installed has an exporter of this name.

    Args:
        name: `otlp`, `console`, or what a package calls its own (entry point
            `opentelemetry_metrics_exporter`).
        protocol: Of `otlp`: `grpc` or `http/protobuf`.
        environment: Read for what is asked for in vain.
    """
    if environment.get(_TEMPORALITY, "").strip().lower() not in ("", "cumulative"):
        _log.warning(
            "%s=%s is not supported: metrics are exported as cumulative numbers",
            _TEMPORALITY,
            environment[_TEMPORALITY],
        )
    if name == "prometheus":
        _log.info(
            "metrics exporter prometheus: /metrics on the HTTP port is there always, "
            "nothing else is started for it"
        )
        return None
    if name == "otlp":
        return _make_otlp(protocol)
    if name == "console":
        return _make_console()
    return _make_installed(name)


def _make_console() -> MetricExporter:
    # nobody else needs it
    from opentelemetry.sdk.metrics.export import ConsoleMetricExporter  # noqa: PLC0415

    return ConsoleMetricExporter()


def _make_installed(name: str) -> MetricExporter:
    found = next(iter(entry_points(group=_ENTRY_POINTS, name=name)), None)
    if found is None:
        raise ValueError(
            f"OTEL_METRICS_EXPORTER: no package that is installed has an exporter '{name}'"
        )
    return cast("MetricExporter", found.load()())


def _make_otlp(protocol: str) -> MetricExporter:
    if protocol == "grpc":
        # one of two, and both are slow to import
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter as HttpExporter,
    )

    return HttpExporter()


def _seconds(environment: Mapping[str, str], variable: str, default: float) -> float:
    text = environment.get(variable, "").strip()
    if not text:
        return default
    try:
        return positive("milliseconds", text) / 1000
    except ValueError as error:
        raise fault(variable, str(error), text) from None
