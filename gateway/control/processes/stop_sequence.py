"""How the control process ends the gateway: drained, then stopped, the telemetry process last."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gateway.config.control import StopOptions
from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.publisher import Publisher
from gateway.control.processes.stop_phase import Phase, StopProgress
from gateway.control.processes.supervisor import Supervisor
from gateway.control.processes.telemetry_supervisor import TelemetrySupervisor
from gateway.ipc.messages import Drain

log = logging.getLogger(__name__)

TELEMETRY_ENDS_S = 6.0
"""Seconds that the telemetry process has for its last exports when the gateway stops.

More than all that it waits for then (`gateway.assembly.telemetry_exporters`) takes together.
"""
INTERRUPTED = 130
"""Exit status after a second Ctrl-C, as shells have it."""


class StopSequence:
    """Takes the gateway through the phases of its stop; the parts it stops are the caller's."""

    def __init__(
        self,
        options: StopOptions,
        progress: StopProgress,
        fleet: Fleet,
        publisher: Publisher,
        supervisor: Supervisor,
        telemetry: TelemetrySupervisor,
    ) -> None:
        self._options = options
        self._progress = progress
        self._fleet = fleet
        self._publisher = publisher
        self._supervisor = supervisor
        self._telemetry = telemetry

    def __repr__(self) -> str:
        return f"<StopSequence {self._progress!r}>"

    async def drain(self) -> None:
        """Answers not ready and serves on for the drain delay, where SIGTERM asked for it."""
        if self._progress.phase is Phase.DRAINING:
            delay_s = self._options.drain_delay_s
            log.info(
                "draining: not ready from here on, but everything is served for another %g s",
                delay_s,
            )
            self._fleet.broadcast(Drain())
            self._publisher.at_once()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(Phase.STOPPING), delay_s)
        self._progress.advance(Phase.STOPPING)
        self._telemetry.publish()

    async def stop(self) -> int:
        """Finishes the calls in flight and ends all processes; returns the exit status.

        The telemetry process is last, so that what is recorded until the end is exported.
        """
        grace_s = self._options.grace_s
        log.info("stopping: calls in flight have %g s", grace_s)
        stopping = asyncio.create_task(self._supervisor.stop(grace_s))
        killed = asyncio.create_task(self._progress.wait(Phase.KILLED))
        await asyncio.wait((stopping, killed), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            self._supervisor.kill()
            await stopping
            await self._telemetry.stop(0)
            return INTERRUPTED
        killed.cancel()
        await self._telemetry.stop(TELEMETRY_ENDS_S)
        return 0 if stopping.result() else 1

    async def give_up(self) -> int:
        """Ends all processes after a failure, without grace; returns the exit status."""
        await self._supervisor.stop(0)
        await self._telemetry.stop(TELEMETRY_ENDS_S)
        return 1
