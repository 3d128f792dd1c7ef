"""The telemetry process: reads what the serving processes wrote, and shows it.

Serving goes on without it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

from gateway.assembly.telemetry_exporters import (
    begin_exports,
    guard_logs,
    linked_traces,
    make_span_export,
)
from gateway.config.telemetry_options import TelemetrySettings
from gateway.core.plan import Key
from gateway.ipc.channel import Channel
from gateway.ipc.messages import Stop
from gateway.ipc.orphan_watch import OrphanWatch
from gateway.ipc.repository_index import VersionState
from gateway.ipc.shared_files import SharedFiles
from gateway.ipc.telemetry_messages import Overview, TelemetryStart, TelemetryStopped
from gateway.logs.setup import TELEMETRY, begin_logs
from gateway.records.counters import StatisticsTable
from gateway.records.pump import Pump
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader
from gateway.telemetry.http import HttpPort
from gateway.telemetry.live.live_state import LiveState
from gateway.telemetry.live.routes import routes
from gateway.telemetry.live.stream import LiveStream
from gateway.telemetry.metrics.collect import MetricsSource, NamesOf
from gateway.telemetry.metrics.metrics_route import metrics_route

_ORPHAN_LIMIT_S: Final = 5.0


def run_telemetry_process(link_fd: int, files: SharedFiles, watch: OrphanWatch) -> None:
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
    begin_logs(settings.logs.log_format, settings.logs.log_level, TELEMETRY)
    for name, value in settings.environment:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    guard_logs()
    async with AsyncExitStack() as stack:
        await _serve(start, settings, files, stack, channel)
    channel.send(TelemetryStopped())
    await channel.flush()
    channel.close()


async def _serve(
    start: TelemetryStart,
    settings: TelemetrySettings,
    files: SharedFiles,
    stack: AsyncExitStack,
    channel: Channel,
) -> None:
    table = stack.enter_context(StatisticsTable(files.statistics))
    readers = _readers(table, files, start.overview.rows)
    latest = _LatestOverview(start.overview)
    spans = make_span_export(settings, start.overview)
    metrics = MetricsSource(table, spans)
    live = LiveState(table, linked_traces(settings, spans), spans)
    latest.add_listener(metrics.on_event)
    latest.add_listener(live.on_event)
    exports = await begin_exports(settings, start.overview, metrics, spans, stack)
    pump = Pump(readers, (metrics, live, *exports))
    # The page ticks only while there is a port to see it on.
    if start.http_fds:
        names = NamesOf(settings.options.metrics_names)
        await _open_http(start.http_fds, latest, live, metrics, names, stack)
    gc.collect()
    gc.freeze()  # all that was imported: a scrape of a thousand models is not to look through it
    await _until_stopped(latest.follow(channel), pump.run())
    pump.rest()


def _readers(
    table: StatisticsTable, files: SharedFiles, rows: Mapping[int, Key]
) -> list[RecordReader]:
    """A reader for the record ring of each serving process, of those too that are yet to come."""
    return [RecordReader(slot, RingReader(files.rings, slot), rows) for slot in range(table.slots)]


async def _open_http(
    fds: Sequence[int],
    latest: _LatestOverview,
    live: LiveState,
    metrics: MetricsSource,
    names: NamesOf,
    stack: AsyncExitStack,
) -> None:
    """Opens the HTTP port with the probes, the page and /metrics; `stack` closes it."""
    stream = await stack.enter_async_context(LiveStream(live))
    sockets = [socket.socket(fileno=fd) for fd in fds]
    answered = [*routes(stream), metrics_route(metrics, names)]
    await stack.enter_async_context(HttpPort(latest, sockets, answered, stream.end))


async def _until_stopped(
    following: Coroutine[Any, Any, None], pump: Coroutine[Any, Any, None]
) -> None:
    """Returns when it is time to stop.

    Reading never ends but by an error, which ends the process; the main process starts another.
    """
    tasks = [asyncio.create_task(each) for each in (following, pump)]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    for task in done:
        task.result()


class _LatestOverview:
    """The latest overview of the main process, and its listeners."""

    def __init__(self, overview: Overview) -> None:
        self.overview = overview
        self._listeners: list[_Listener] = []

    def add_listener(self, listener: _Listener) -> None:
        """Calls the listener with the overview there is, and with every later one."""
        listener(self.overview)
        self._listeners.append(listener)

    async def follow(self, channel: Channel) -> None:
        """Returns when it is time to stop, or the main process is gone."""
        while (message := await channel.receive()) is not None and not isinstance(message, Stop):
            if isinstance(message, Overview):
                self.overview = message
                for listener in self._listeners:
                    listener(message)

    @property
    def ready(self) -> bool:
        """The gateway wants calls."""
        return self.overview.ready

    def model_ready(self, model: str, version: int | None = None) -> bool | None:
        """A version, or any, is live; None: there is no such model."""
        entries = [entry for entry in self.overview.index if entry.model == model]
        if not entries:
            return None
        wanted = [entry for entry in entries if version is None or entry.version == str(version)]
        return self.overview.phase == "serving" and any(
            entry.state is VersionState.READY for entry in wanted
        )


class _Listener(Protocol):
    def __call__(self, overview: Overview) -> None: ...
