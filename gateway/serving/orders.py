"""One serving process: carries out what the control side sends."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable

from gateway.config.log_settings import log_level
from gateway.config.trace_settings import changed_sampling
from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Listening, Publish
from gateway.records.breaker_state import Report
from gateway.records.sampling import SamplingPlan
from gateway.records.writer import RecordWriter
from gateway.serving.policies.breaker.breaker_registry import BreakerRegistry
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.version_changes import LiveVersions
from gateway.serving.wire.call_errors import flush_log
from gateway.serving.wire.server_state import ServerState
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.transport.interface import Transport

# READY is what the others are, after a restart
_NOT_LIVE = {"": "it is not loaded", "READY": "this process is still opening it"}
# a burst of requests is no leak: looking for cycles in each took 4 % of the time
_GC_THRESHOLDS = (10_000, 10, 10)


class ServingProcess:
    """Carries out the control side's orders (`gateway.ipc.serving_interface.Served`)."""

    def __init__(
        self,
        transport: Transport,
        transport_name: str,
        versions: LiveVersions,
        catalogue: Catalogue,
        state: ServerState,
        streams: OpenStreams,
        breakers: BreakerRegistry,
        writer: RecordWriter,
        sampling: SamplingPlan,
    ) -> None:
        """`sampling`: as at the start; trace settings change it."""
        self._transport = transport
        self._transport_name = transport_name
        self._versions = versions
        self._catalogue = catalogue
        self._state = state
        self._streams = streams
        self._breakers = breakers
        self._writer = writer
        self._sampling = sampling
        self._tasks: set[asyncio.Future[None]] = set()

    async def listen(self) -> Listening:
        """Opens the port."""
        return Listening(await self._transport.start(), self._transport_name)

    async def prepare(
        self, change_id: int, plans: tuple[VersionPlan, ...]
    ) -> tuple[tuple[Key, str], ...]:
        """Opens and warms versions; returns those that failed."""
        return await self._versions.prepare(change_id, plans)

    def commit(
        self, change_id: int, live: tuple[Key, ...], retire: tuple[Key, ...]
    ) -> Awaitable[None]:
        """Swaps at once; what it returns ends with the draining."""
        return self._versions.commit(change_id, live, retire)

    def abort(self, change_id: int) -> None:
        """Lets go what was prepared."""
        task = asyncio.ensure_future(self._versions.abort(change_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def publish(self, publication: Publish) -> None:
        """Takes over what every process answers alike.

        From the first readiness on, what is there is not looked at by the collector.
        """
        was_ready = self._state.ready
        self._catalogue.explain(
            {
                (e.model, int(e.version or 0)): e.reason
                or _NOT_LIVE.get(e.state or "", f"it is {e.state}")
                for e in publication.index
            }
        )
        logging.getLogger().setLevel(log_level(publication.log_settings))
        self._writer.sample_by(changed_sampling(self._sampling, publication.trace_changes))
        self._breakers.force(publication.forced_breakers)
        self._state.publish(publication)
        if publication.ready and not was_ready:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLDS)

    def report_breakers(self) -> Report:
        """How the breakers of this process stand."""
        return self._breakers.snapshots()

    def drain(self) -> None:
        """Says not ready, and serves on."""
        self._state.drain()

    async def stop(self, grace_s: float) -> None:
        """Ends the streams that would never end, and lets the transport finish what it accepted."""
        self._state.drain()
        self._streams.end()
        await self._transport.stop(grace_s)
        flush_log()
