"""The control process: starts everything in the right order, keeps it, and ends it on a signal.

It imports neither gRPC nor ONNX Runtime. The serving processes are started first, one of them
before this module is imported: their own start takes longest, so all that this process needs (the
repository, HTTP) is imported while they come up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.control import ControlOptions
from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fleet import NO_SETTINGS, Fleet
from gateway.control.lifecycle.model_control import StartUpFailed
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.control.processes.change_requests import ChangeRequests
from gateway.control.processes.gateway_state import GatewayState
from gateway.control.processes.ports import PortUnavailable, ReservedPort, reserve_port
from gateway.control.processes.spawning import Spawner
from gateway.control.processes.stop_phase import Phase, StopProgress
from gateway.control.processes.stop_sequence import StopSequence
from gateway.control.processes.supervisor import CannotServe, Supervisor
from gateway.control.processes.telemetry_supervisor import TelemetrySupervisor
from gateway.core.setting_value import Setting
from gateway.ipc.messages import Start
from gateway.ipc.repository_index import IndexEntry
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.records.ring_file import size_rings_file

if TYPE_CHECKING:  # imported while the serving processes come up
    from gateway.control.models.sources.source import Source

log = logging.getLogger(__name__)

TELEMETRY_WAITS_S = 1.0
"""Seconds after which the telemetry process is started at the latest; HTTP's callers wait so long.

It is started after the start-up pass, which it would delay.
"""


@dataclass(frozen=True, slots=True)
class Started:
    """What is announced once, when the start-up pass is over and the port is open."""

    address: str
    """Host and port, for callers on this machine."""
    http_address: str
    """Host and port of HTTP; empty: it is not served."""
    processes: int
    index: tuple[IndexEntry, ...]
    elapsed_s: float
    transport: str = ""
    """Which transport the serving processes chose."""


class MainProcess:
    """The control process as a whole, from its start to its exit status.

    `settings` goes to the serving processes as it is, `telemetry_settings` to the telemetry
    process. `open_source` makes the source of the models; it is called in a thread, after the
    serving processes are started, so it is the place for slow imports. `spawner` starts those
    processes; the caller closes it.
    """

    def __init__(
        self,
        options: ControlOptions,
        settings: object,
        open_source: Callable[[], AbstractAsyncContextManager[Source]],
        spawner: Spawner,
        *,
        telemetry_settings: object = None,
        announce: Callable[[Started], None] = lambda _: None,
        trace_settings: Mapping[str, Setting] = NO_SETTINGS,
        log_settings: Mapping[str, Setting] = NO_SETTINGS,
    ) -> None:
        self._options = options
        self._settings = settings
        self._open_source = open_source
        self._announce = announce
        self._spawner = spawner
        self._telemetry_settings = telemetry_settings
        self._progress = StopProgress()
        self._fleet = Fleet(options.model_control.concurrent_loads)
        self._publisher = Publisher(self._publish)
        agreed = RuntimeSettings(trace_settings, log_settings)
        self._state = GatewayState(self._fleet, self._progress, agreed)
        self._requests = ChangeRequests(self._state, self._fleet, agreed, self._publisher)
        self._begun_s = time.monotonic()

    async def run(self) -> int:
        """Serves until a signal ends it; returns the exit status."""
        try:
            async with AsyncExitStack() as stack:
                self._handle_signals(stack)
                self._port = stack.enter_context(
                    reserve_port(self._options.listen.host, self._options.listen.port)
                )
                self._http_port = self._reserve_http(stack)
                self._telemetry = self._make_telemetry()
                size_statistics_file(self._spawner.files.statistics, self._options.processes)
                size_rings_file(self._spawner.files.rings, self._options.processes)
                self._supervisor = self._make_supervisor()
                self._stop_sequence = self._make_stop_sequence()
                await self._supervisor.start()
                return await self._serve_and_stop(stack)
        except PortUnavailable as error:
            log.error("%s", error)  # noqa: TRY400  # the text says it all
            return 1

    # The start.

    def _handle_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._progress.signalled, number)
            stack.callback(loop.remove_signal_handler, number)
        loop.add_signal_handler(signal.SIGHUP, self._requests.begin_rescan)
        stack.callback(loop.remove_signal_handler, signal.SIGHUP)

    def _reserve_http(self, stack: AsyncExitStack) -> ReservedPort | None:
        """Listens for HTTP from the start: an early probe waits instead of being refused."""
        if self._options.listen.http_port is None:
            return None
        reserved = stack.enter_context(
            reserve_port(self._options.listen.host, self._options.listen.http_port, "--http-port")
        )
        reserved.listen()
        return reserved

    def _make_supervisor(self) -> Supervisor:
        options = self._options
        stop = self._options.stop
        orphan_limit_s = stop.grace_s + stop.kill_after_s
        addresses = self._port.addresses
        starts = tuple(
            Start(self._settings, addresses, slot, options.processes, stop.grace_s, orphan_limit_s)
            for slot in range(options.processes)
        )
        return Supervisor(
            options.restart,
            starts,
            self._spawner,
            self._fleet,
            self._requests.answer,
            kill_after_s=stop.kill_after_s,
            changed=self._telemetry.publish,
        )

    def _make_telemetry(self) -> TelemetrySupervisor:
        return TelemetrySupervisor(
            self._options.restart,
            self._telemetry_settings,
            self._http_port.sockets if self._http_port is not None else (),
            self._spawner.spawn_telemetry,
            lambda: self._state.overview(self._supervisor.states, self._port.local_address),
        )

    def _make_stop_sequence(self) -> StopSequence:
        options = self._options.stop
        parts = self._fleet, self._publisher, self._supervisor, self._telemetry
        return StopSequence(options, self._progress, *parts)

    # The life.

    async def _serve_and_stop(self, stack: AsyncExitStack) -> int:
        loaded = asyncio.Event()
        lives = [
            asyncio.create_task(self._load_models(stack, loaded)),
            asyncio.create_task(self._supervise_telemetry(loaded)),
        ]
        try:
            failure = await self._serve(lives)
            if failure is None:
                await self._stop_sequence.drain()
        finally:
            self._publisher.close()
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        if failure is None:
            return await self._stop_sequence.stop()
        log.error("%s", failure)
        return await self._stop_sequence.give_up()

    async def _serve(self, lives: list[asyncio.Task[None]]) -> BaseException | None:
        """Returns when a signal asks for the stop (None), or a failure does (that failure)."""
        stopping = asyncio.create_task(self._progress.wait(Phase.DRAINING))
        waiting: set[asyncio.Future[None]] = {stopping, self._supervisor.failed, *lives}
        while stopping in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {stopping}:
                if (error := ended.exception()) is not None:
                    if not isinstance(error, StartUpFailed | CannotServe):
                        log.error("the gateway cannot go on", exc_info=error)
                    stopping.cancel()
                    return error
        return None

    async def _load_models(self, stack: AsyncExitStack, loaded: asyncio.Event) -> None:
        # imported here, because the serving processes are started by now
        from gateway.control.lifecycle.model_control import ModelControl  # noqa: PLC0415

        source = await stack.enter_async_context(await asyncio.to_thread(self._open_source))
        rows = CounterRows(StatisticsTable(self._spawner.files.statistics).clear)
        models = ModelControl(
            self._options.model_control, source, self._fleet, rows, self._publisher
        )
        self._state.models = models
        await models.start_up()
        await self._supervisor.wait_listening()
        loaded.set()
        self._announce(self._started(models.index))
        await models.keep_polling()

    def _started(self, index: tuple[IndexEntry, ...]) -> Started:
        return Started(
            self._port.local_address,
            self._http_port.local_address if self._http_port is not None else "",
            self._options.processes,
            index,
            time.monotonic() - self._begun_s,
            self._supervisor.transport,
        )

    async def _supervise_telemetry(self, loaded: asyncio.Event) -> None:
        """Starts the telemetry process when the start-up pass is over, which it would delay."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loaded.wait(), TELEMETRY_WAITS_S)
        self._telemetry.start()

    async def _publish(self) -> None:
        self._telemetry.publish()
        await self._state.publish()
