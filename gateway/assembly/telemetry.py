"""The telemetry process: reads what the serving processes wrote, and shows it to whoever asks. Serving goes on without it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from gateway.control.channel import Channel
from gateway.control.http import HttpPort
from gateway.control.live.routes import routes
from gateway.control.live.state import LiveState
from gateway.control.live.stream import LiveStream
from gateway.control.messages import Stop, VersionState
from gateway.control.metrics_http import metrics_route
from gateway.control.metrics_source import MetricsSource, NamesOf
from gateway.control.overview import Overview, TelemetryStart, TelemetryStopped
from gateway.control.shared_files import SharedFiles
from gateway.control.statistics import StatisticsTable
from gateway.control.supervisor_watch import SupervisorWatch
from gateway.observe.chunks import Chunk, ChunkReader
from gateway.observe.logs.setup import TELEMETRY, begin_logs
from gateway.observe.ring import RingReader
from gateway.settings import TelemetrySettings

if TYPE_CHECKING:
    from gateway.observe.spans.export import SpanExport

_LOOK_S: Final = 0.1
_EXPORTS_LAST_S: Final = 3.0
_ORPHAN_LIMIT_S: Final = 5.0
_log = logging.getLogger(__name__)


class Consumer(Protocol):
    """Whoever makes something of what was written."""

    def take(self, chunk: Chunk) -> None:
        """Takes a stretch; never raises."""
        ...


def run_telemetry_process(link_fd: int, files: SharedFiles, watch: SupervisorWatch) -> None:
    """Runs until the main process says stop or is gone."""
    watch.limit_s = _ORPHAN_LIMIT_S
    asyncio.run(_run(link_fd, files))


async def _run(link_fd: int, files: SharedFiles) -> None:
    channel = await Channel.open(socket.socket(fileno=link_fd))
    start = await channel.receive()
    if not isinstance(start, TelemetryStart):
        return
    settings = start.settings
    assert isinstance(settings, TelemetrySettings)
    begin_logs(settings.log_format, settings.log_level, TELEMETRY)
    for name, value in settings.environment:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    async with AsyncExitStack() as stack:
        await _serve(start, settings, files, stack, channel)
    channel.send(TelemetryStopped())
    await channel.flush()
    channel.close()


async def _serve(start: TelemetryStart, settings: TelemetrySettings, files: SharedFiles, stack: AsyncExitStack, channel: Channel) -> None:
    table = stack.enter_context(StatisticsTable(files.statistics))
    readers = [ChunkReader(slot, RingReader(files.rings, slot), start.overview.rows) for slot in range(table.slots)]
    told = _Told(start.overview)
    # Spans first: metrics count them. OpenTelemetry is imported only where it exports something.
    spans = await _span_export(settings, start.overview, stack)
    metrics = MetricsSource(table, spans)
    live = LiveState(table, settings.trace_url)
    for listener in (metrics.told, live.told):
        listener(start.overview)
        told.listeners.append(listener)
    consumers: list[Consumer] = [metrics, live, *([spans] if spans is not None else [])]
    if settings.access_log != "off":
        from gateway.observe.logs.access_log import AccessLog  # noqa: PLC0415

        access_log = AccessLog(settings.access_log, settings.log_format)
        access_log.start()
        stack.push_async_callback(asyncio.to_thread, access_log.close)
        consumers.append(access_log)
    await _metrics_export(settings, start.overview, metrics, stack)
    # The page ticks only while there is a port to see it on.
    if start.http_fds:
        stream = await stack.enter_async_context(LiveStream(live))
        sockets = [socket.socket(fileno=fd) for fd in start.http_fds]
        answered = [*routes(stream), web.get("/metrics", metrics_route(metrics, NamesOf(settings.metrics_names)))]
        await stack.enter_async_context(HttpPort(told, sockets, answered, stream.end))
    gc.collect()
    gc.freeze()  # all that was imported: a scrape of a thousand models is not to look through it
    reading = asyncio.create_task(_read(readers, consumers))
    try:
        await told.follow(channel)
    finally:
        reading.cancel()
    for _ in range(2):  # what was seen at one look is read at the next
        _read_once(readers, consumers)


async def _span_export(settings: TelemetrySettings, overview: Overview, stack: AsyncExitStack) -> SpanExport | None:
    if not settings.otel.trace_exporters:
        return None
    from gateway.observe.spans.export import SpanExport  # noqa: PLC0415
    from gateway.observe.spans.forms import Server  # noqa: PLC0415

    host, _, port = overview.address.rpartition(":")
    try:
        export = SpanExport(settings.otel, server=Server(host.strip("[]"), int(port)) if port.isdecimal() else None)
    except ValueError as error:
        _log.error("spans are not exported: %s", error)  # the text says it all
        return None
    export.start()
    stack.push_async_callback(asyncio.to_thread, export.close, _EXPORTS_LAST_S)
    return export


async def _metrics_export(settings: TelemetrySettings, overview: Overview, metrics: MetricsSource, stack: AsyncExitStack) -> None:
    if not settings.otel.metric_exporters:
        return
    from gateway.observe.metrics.exporters import export_times, make_exporter  # noqa: PLC0415
    from gateway.observe.metrics.otlp import MetricsExport  # noqa: PLC0415
    from gateway.observe.spans.exporters import make_resource  # noqa: PLC0415

    try:
        times = export_times(os.environ)
        for name in settings.otel.metric_exporters:
            exporter = make_exporter(name, settings.otel.metric_protocol, os.environ)
            if exporter is not None:
                export = MetricsExport(
                    exporter,
                    metrics.collect,
                    resource=make_resource(),
                    started_s=overview.started_s,
                    interval_s=times.interval_s,
                    timeout_s=times.timeout_s,
                )
                await stack.enter_async_context(export)
    except ValueError as error:
        _log.error("metrics are not exported: %s", error)  # the text says it all


async def _read(readers: Iterable[ChunkReader], consumers: Iterable[Consumer]) -> None:
    while True:
        more = _read_once(readers, consumers)
        await asyncio.sleep(0 if more else _LOOK_S)


def _read_once(readers: Iterable[ChunkReader], consumers: Iterable[Consumer]) -> bool:
    """Whether there is more to read at once."""
    more = False
    for reader in readers:
        chunk = reader.read()
        if chunk is not None:
            more = more or reader.backlog
            for consumer in consumers:
                consumer.take(chunk)
    return more


class _Told:
    """What the main process has said last, and whoever wants to hear it."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        self.listeners: list[_Listener] = []

    async def follow(self, channel: Channel) -> None:
        """Returns when it is time to stop, or the main process is gone."""
        while (message := await channel.receive()) is not None and not isinstance(message, Stop):
            if isinstance(message, Overview):
                self.overview = message
                for listener in self.listeners:
                    listener(message)

    @property
    def ready(self) -> bool:
        """Calls are welcome."""
        return self.overview.ready

    def model_ready(self, model: str, version: int | None = None) -> bool | None:
        """A version, or any, is live; None: there is no such model."""
        entries = [entry for entry in self.overview.index if entry.model == model]
        if not entries:
            return None
        wanted = [entry for entry in entries if version is None or entry.version == str(version)]
        return self.overview.phase == "serving" and any(entry.state is VersionState.READY for entry in wanted)


class _Listener(Protocol):
    def __call__(self, overview: Overview) -> None: ...
