"""What the telemetry process sends or logs of its own accord: spans, metrics, the access log.

OpenTelemetry is imported only where it exports something.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.config.telemetry_options import TelemetrySettings
from gateway.ipc.telemetry_messages import Overview
from gateway.records.pump import Consumer
from gateway.telemetry.access_log.exporter_log_filter import ExporterLogFilter
from gateway.telemetry.metrics.collect import MetricsSource

if TYPE_CHECKING:
    from gateway.telemetry.metrics.otlp import MetricsExport
    from gateway.telemetry.tracing.exporter import SpanExport

_LAST_S: Final = 3.0
"""Seconds at the end for spans and lines that are left; then metrics are sent a last time."""
_log = logging.getLogger(__name__)


def guard_logs() -> None:
    """Filters the log lines of exporters: no repetition, and no value of a header.

    To be called before any exporter is made, for they read headers, and may log them, at once.
    """
    words = ExporterLogFilter(os.environ)
    for handler in logging.getLogger().handlers:
        handler.addFilter(words)


def make_span_export(settings: TelemetrySettings, overview: Overview) -> SpanExport | None:
    """The export of spans, not yet started.

    None where no exporter is configured, or the one that is cannot be made, which is logged.
    """
    if not settings.otel.trace_exporters:
        return None
    from gateway.telemetry.tracing.exporter import SpanExport  # noqa: PLC0415
    from gateway.telemetry.tracing.span_exporters import resource_of  # noqa: PLC0415
    from gateway.telemetry.tracing.span_templates import Server  # noqa: PLC0415

    host, _, port = overview.address.rpartition(":")
    server = Server(host.strip("[]"), int(port)) if port.isdecimal() else None
    try:
        return SpanExport(
            settings.otel, server=server, resource=resource_of(overview.address, overview.started_s)
        )
    except ValueError as error:
        _log.error("spans are not exported: %s", error)  # the text says it all
        return None


def linked_traces(settings: TelemetrySettings, spans: SpanExport | None) -> str:
    """The URL by which the page links to traces.

    Empty where no traces are exported, which is logged.
    """
    exported = spans is not None and spans.has_exporter and settings.otel.sampling.traces
    if settings.otel.disabled:
        _log.info(
            "OTEL_SDK_DISABLED is true: traces and metrics are not exported, whatever else is named"
        )
    elif settings.options.trace_url and not exported:
        _log.info("traces are not exported: the page has no links to them, in spite of --trace-url")
    return settings.options.trace_url if exported else ""


async def begin_exports(
    settings: TelemetrySettings,
    overview: Overview,
    metrics: MetricsSource,
    spans: SpanExport | None,
    stack: AsyncExitStack,
) -> list[Consumer]:
    """Starts all exports that are configured; `stack` ends them.

    Returns the consumers of records among them.
    """
    # Metrics end last: they count spans.
    await _export_metrics(settings, overview, metrics, stack)
    consumers: list[Consumer] = []
    closings: list[Callable[[], None]] = []
    if spans is not None:
        spans.start()
        consumers.append(spans)
        closings.append(partial(spans.close, _LAST_S))
    if settings.logs.access_log != "off":
        from gateway.telemetry.access_log.access_log import AccessLog  # noqa: PLC0415

        access_log = AccessLog(settings.logs.access_log, settings.logs.log_format)
        access_log.start()
        consumers.append(access_log)
        closings.append(access_log.close)
    stack.push_async_callback(_close_together, closings)
    return consumers


async def _export_metrics(
    settings: TelemetrySettings, overview: Overview, metrics: MetricsSource, stack: AsyncExitStack
) -> None:
    for name in dict.fromkeys(settings.otel.metric_exporters):
        export = _metrics_export(name, settings, overview, metrics)
        if export is not None:
            await stack.enter_async_context(export)


def _metrics_export(
    name: str, settings: TelemetrySettings, overview: Overview, metrics: MetricsSource
) -> MetricsExport | None:
    """The export by one exporter, not yet started; None where there is none to start."""
    from gateway.telemetry.metrics.metric_exporters import export_times, make_exporter  # noqa: PLC0415
    from gateway.telemetry.metrics.otlp import MetricsExport  # noqa: PLC0415
    from gateway.telemetry.tracing.span_exporters import resource_of  # noqa: PLC0415

    try:
        times = export_times(os.environ)
        exporter = make_exporter(name, settings.otel.metric_protocol, os.environ)
    except Exception as error:  # noqa: BLE001
        # raised by an installed package, or for the environment that it reads: no bug of ours
        _log.error("metrics are not exported by %r: %s: %s", name, type(error).__name__, error)
        return None
    if exporter is None:
        return None
    return MetricsExport(
        exporter,
        metrics.collect,
        resource=resource_of(overview.address, overview.started_s),
        started_s=overview.started_s,
        interval_s=times.interval_s,
        timeout_s=times.timeout_s,
    )


async def _close_together(closings: list[Callable[[], None]]) -> None:
    await asyncio.gather(*map(asyncio.to_thread, closings))
