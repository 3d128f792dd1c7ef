"""The main process: starts everything in the right order, keeps it, and ends it on a signal.

It imports neither gRPC nor ONNX Runtime. The serving processes are started first, one of them
before this module is imported: their own start takes longest, so whatever this process needs (the
repository, HTTP) is imported while they come up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gateway.config.control import ControlOptions
from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.control.lifecycle.fleet import NO_SETTINGS, Fleet
from gateway.control.lifecycle.model_control import StartUpFailed
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.control.processes.ports import PortUnavailable, ReservedPort, reserve_port
from gateway.control.processes.spawning import Spawner
from gateway.control.processes.stop_sequence import Phase, StopSequence
from gateway.control.processes.supervisor import CannotServe, Supervisor
from gateway.control.processes.telemetry_supervisor import TelemetrySupervisor
from gateway.core.errors import Unavailable
from gateway.core.setting_value import Setting
from gateway.ipc.messages import Ask, Change, Drain, Start
from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.telemetry_messages import Overview
from gateway.records.breaker_state import BreakerKey, Forced, Survey
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.records.ring_file import size_rings_file

if TYPE_CHECKING:  # imported while the serving processes come up
    from gateway.control.lifecycle.model_control import ModelControl
    from gateway.control.models.sources.source import Source

log = logging.getLogger(__name__)

_PHASES = {
    Phase.SERVING: "serving",
    Phase.DRAINING: "draining",
    Phase.STOPPING: "stopping",
    Phase.KILLED: "stopping",
}

TELEMETRY_WAITS_S = 1.0
"""The telemetry process is started after the start-up pass, so as not to delay it.

Or after this at the latest; HTTP's callers wait until then.
"""
TELEMETRY_ENDS_S = 6.0
"""For what it may have to export when the gateway stops.

More than all that it waits for then (`gateway.assembly.telemetry_exporters`) takes together.
"""
INTERRUPTED = 130
"""Exit status after a second Ctrl-C, as shells have it."""


@dataclass(frozen=True, slots=True)
class Started:
    """Transitions once, when the start-up pass is over and the port is open."""

    address: str
    """Host and port, for callers on this machine."""
    http_address: str
    """Empty: no HTTP."""
    processes: int
    index: tuple[IndexEntry, ...]
    elapsed_s: float
    transport: str = ""
    """What the serving processes chose to serve through."""


class MainProcess:
    """Everything between the start of the gateway and its exit status.

    `settings` goes to the serving processes as it is, `telemetry_settings` to the telemetry
    process. `open_source` makes the source of the models; it is called in a thread, once the
    serving processes are on their way, so it is the place for slow imports. `spawner` starts those
    processes; it is the caller's to close.
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
        self._telemetry: TelemetrySupervisor | None = None
        self._started_s = time.time()
        self._stop = StopSequence()
        self._fleet = Fleet(options.model_control.concurrent_loads)
        self._publisher = Publisher(self._publish)
        self._agreed = RuntimeSettings(trace_settings, log_settings)
        self._models: ModelControl | None = None
        self._rescans: set[asyncio.Task[None]] = set()
        self._begun_s = time.monotonic()

    async def run(self) -> int:
        """Serves until a signal ends it; returns the exit status."""
        try:
            async with AsyncExitStack() as stack:
                self._handle_signals(stack)
                self._port = stack.enter_context(
                    reserve_port(self._options.host, self._options.port)
                )
                self._http_port = self._reserve_http(stack)
                size_statistics_file(self._spawner.files.statistics, self._options.processes)
                size_rings_file(self._spawner.files.rings, self._options.processes)
                self._supervisor = self._make_supervisor()
                await self._supervisor.start()
                return await self._serve_and_stop(stack)
        except PortUnavailable as error:
            log.error("%s", error)  # noqa: TRY400  # the text says it all
            return 1

    @property
    def ready(self) -> bool:
        """Calls are welcome."""
        return self._models is not None and self._models.ready and self._stop.phase is Phase.SERVING

    def model_ready(self, model: str, version: int | None = None) -> bool | None:
        """A version, or any, is live, and the gateway is not on its way out.

        None: there is no such model.
        """
        live = self._models.model_ready(model, version) if self._models is not None else None
        return live and self._stop.phase is Phase.SERVING

    # The start.

    def _handle_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.signalled, number)
            stack.callback(loop.remove_signal_handler, number)
        loop.add_signal_handler(signal.SIGHUP, self._begin_rescan)
        stack.callback(loop.remove_signal_handler, signal.SIGHUP)

    def _reserve_http(self, stack: AsyncExitStack) -> ReservedPort | None:
        """It listens from the start: an early probe waits instead of being refused."""
        if self._options.http_port is None:
            return None
        reserved = stack.enter_context(
            reserve_port(self._options.host, self._options.http_port, "--http-port")
        )
        reserved.listen()
        return reserved

    def _make_supervisor(self) -> Supervisor:
        options = self._options
        stop = self._options.stop
        orphan_limit_s = stop.grace_s + stop.kill_after_s
        starts = tuple(
            Start(
                self._settings,
                self._port.addresses,
                slot,
                options.processes,
                stop.grace_s,
                orphan_limit_s,
            )
            for slot in range(options.processes)
        )
        return Supervisor(
            options.restart,
            starts,
            self._spawner,
            self._fleet,
            self._answer,
            kill_after_s=stop.kill_after_s,
            changed=self._publish_to_telemetry,
        )

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
                await self._drain()
        finally:
            self._publisher.close()
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        if failure is None:
            return await self._stop_processes()
        log.error("%s", failure)
        await self._supervisor.stop(0)
        await self._stop_telemetry()
        return 1

    async def _serve(self, lives: list[asyncio.Task[None]]) -> BaseException | None:
        """Returns when a signal has come, or what else ended it."""
        stopping = asyncio.create_task(self._stop.wait(Phase.DRAINING))
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
        # the serving processes are on their way by now
        from gateway.control.lifecycle.model_control import ModelControl  # noqa: PLC0415

        source = await stack.enter_async_context(await asyncio.to_thread(self._open_source))
        rows = CounterRows(StatisticsTable(self._spawner.files.statistics).clear)
        self._models = ModelControl(
            self._options.model_control, source, self._fleet, rows, self._publisher
        )
        await self._models.start_up()
        await self._supervisor.wait_listening()
        loaded.set()
        self._announce(
            Started(
                self._port.local_address,
                self._http_port.local_address if self._http_port is not None else "",
                self._options.processes,
                self._models.index,
                time.monotonic() - self._begun_s,
                self._supervisor.transport,
            )
        )
        await self._models.keep_polling()

    async def _supervise_telemetry(self, loaded: asyncio.Event) -> None:
        """Not before the start-up pass is over, which it would delay."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loaded.wait(), TELEMETRY_WAITS_S)
        sockets = self._http_port.sockets if self._http_port is not None else ()
        self._telemetry = TelemetrySupervisor(
            self._options.restart,
            self._telemetry_settings,
            sockets,
            self._spawner.spawn_telemetry,
            self._overview,
        )
        self._telemetry.start()

    def _overview(self) -> Overview:
        models = self._models
        return Overview(
            ready=self.ready,
            phase=_PHASES[self._stop.phase] if models is not None else "starting",
            index=models.index if models is not None else (),
            rows={
                plan.statistics_row: key
                for key, plan in self._fleet.live.items()
                if plan.statistics_row >= 0
            },
            processes=self._supervisor.states,
            address=self._port.local_address,
            started_s=self._started_s,
        )

    # What comes up.

    async def _publish(self) -> None:
        assert self._models is not None
        self._publish_to_telemetry()
        agreed = self._agreed
        settings = {
            "trace_settings": agreed.trace,
            "log_settings": agreed.log,
            "trace_changes": agreed.trace_changes,
        }
        await self._fleet.publish(ready=self.ready, index=self._models.index, **settings)

    def _publish_to_telemetry(self) -> None:
        if self._telemetry is not None:
            self._telemetry.publish()

    async def _answer(self, ask: Ask) -> object:
        if self._models is None:
            raise Unavailable("the server is starting: nothing can be changed yet")
        match ask.change:
            case Change.LOAD:
                await self._models.load(ask.model, ask.parameters)
            case Change.UNLOAD:
                await self._models.unload(ask.model)
            case Change.TRACE_SETTINGS | Change.LOG_SETTINGS:
                values = self._agreed.change(ask.change, ask.parameters)
                if ask.parameters:
                    await self._publisher.now()
                return values
            case Change.BREAKERS:
                return await self._breakers(ask.parameters)
        return None

    async def _breakers(self, parameters: Mapping[str, object]) -> Survey | None:
        if not parameters:
            return await self._fleet.breakers.survey()
        self._fleet.breakers.force(
            cast("Iterable[BreakerKey]", parameters["keys"]), cast("Forced", parameters["mode"])
        )
        await self._publisher.now()
        return None

    def _begin_rescan(self) -> None:
        rescan = asyncio.create_task(self._rescan())
        self._rescans.add(rescan)
        rescan.add_done_callback(self._rescans.discard)

    async def _rescan(self) -> None:
        log.info("SIGHUP: looking at the model repository")
        try:
            if self._models is not None:
                await self._models.rescan()
        except Exception:  # what is live goes on
            log.exception("looking at the model repository")

    # The end.

    async def _drain(self) -> None:
        if self._stop.phase is Phase.DRAINING:
            delay_s = self._options.stop.drain_delay_s
            log.info(
                "draining: not ready from here on, but everything is served for another %g s",
                delay_s,
            )
            self._fleet.broadcast(Drain())
            self._publisher.at_once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(Phase.STOPPING), delay_s)
        self._stop.advance(Phase.STOPPING)
        self._publish_to_telemetry()

    async def _stop_telemetry(self, timeout_s: float = TELEMETRY_ENDS_S) -> None:
        """Last, so that what was written down until the end is seen."""
        if self._telemetry is not None:
            await self._telemetry.stop(timeout_s)

    async def _stop_processes(self) -> int:
        grace_s = self._options.stop.grace_s
        log.info("stopping: calls in flight have %g s", grace_s)
        stopping = asyncio.create_task(self._supervisor.stop(grace_s))
        killed = asyncio.create_task(self._stop.wait(Phase.KILLED))
        await asyncio.wait((stopping, killed), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            self._supervisor.kill()
            await stopping
            await self._stop_telemetry(0)
            return INTERRUPTED
        killed.cancel()
        await self._stop_telemetry()
        return 0 if stopping.result() else 1
