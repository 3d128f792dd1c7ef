"""The control process's supervisor of the telemetry process: starts, informs and replaces it.

Serving goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence

from gateway.config.control import RestartOptions
from gateway.control.processes.child import Child, how_it_ended
from gateway.control.processes.restart_backoff import RestartBackoff
from gateway.control.processes.spawning import Spawned
from gateway.ipc.channel import Channel
from gateway.ipc.messages import Stop
from gateway.ipc.telemetry_messages import Overview, TelemetryStart, TelemetryStopped

log = logging.getLogger(__name__)


class TelemetrySupervisor:
    """Keeps one telemetry process.

    `settings` goes to it as it is; `sockets` listen for HTTP already, and the caller closes them.
    `overview` makes what is sent at each change.
    """

    def __init__(
        self,
        options: RestartOptions,
        settings: object,
        sockets: Sequence[socket.socket],
        spawn: Callable[[Sequence[socket.socket]], Spawned],
        overview: Callable[[], Overview],
    ) -> None:
        self._options = options
        self._settings = settings
        self._sockets = sockets
        self._spawn = spawn
        self._overview = overview
        self._channel: Channel | None = None
        self._process: Child | None = None
        self._stopping = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<TelemetrySupervisor {self._process!r}>"

    def start(self) -> None:
        """Begins to keep a process running."""
        self._supervision = asyncio.create_task(self._keep())

    def publish(self) -> None:
        """Sends the process, if it is up, the gateway as it now is."""
        if self._channel is not None:
            self._channel.send(self._overview())

    async def stop(self, timeout_s: float) -> None:
        """Has the process export what is left, for `timeout_s` seconds at most, and ends it."""
        self._stopping.set()
        if self._channel is not None:
            self._channel.send(Stop(timeout_s))
        if self._supervision is not None:
            await asyncio.wait((self._supervision,), timeout=timeout_s)
            if not self._supervision.done() and self._process is not None:
                log.warning(
                    "the telemetry process did not end within %g s and is killed", timeout_s
                )
                self._process.kill()
                await asyncio.wait((self._supervision,), timeout=1.0)
            self._supervision.cancel()

    async def _keep(self) -> None:
        backoff = RestartBackoff(self._options)
        while not self._stopping.is_set():
            backoff.started()
            ending = await self._run_one()
            if self._stopping.is_set():
                return
            delay_s = backoff.died()
            log.error(
                "the telemetry process %s; serving goes on, and another takes its place in %.1f s",
                ending,
                delay_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _run_one(self) -> str:
        """Returns how the process ended, when it has."""
        try:
            pid, link = self._spawn(self._sockets)
        except OSError as error:
            return f"cannot be started: {error}"
        self._process = Child(pid)
        channel = await Channel.open(link)
        self._channel = channel
        channel.send(
            TelemetryStart(
                self._settings, tuple(each.fileno() for each in self._sockets), self._overview()
            )
        )
        if self._stopping.is_set():
            channel.send(Stop(0))
        receiving = asyncio.create_task(self._receive(channel))
        try:
            status = await self._process.wait()
        finally:
            receiving.cancel()
            self._channel = None
            channel.close()
        return how_it_ended(pid, status)

    async def _receive(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            if isinstance(message, TelemetryStopped):
                return
