"""Where the gauges of a served version are read from, in its serving process."""

from __future__ import annotations

import msgspec

from gateway.records.breaker_state import gauged
from gateway.records.counters import VersionStatistics
from gateway.records.events import InstanceGauges, VersionGauges
from gateway.serving.batching.batcher import Batcher
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.routing.live_version import LiveVersion
from gateway.serving.runtime.instance_pool import InstancePool


class WatchedVersion(msgspec.Struct, eq=False):
    """One version in this process (`gateway.records.gauge_writer.Watched`)."""

    live: LiveVersion
    batcher: Batcher
    breaker: CircuitBreaker
    counts: VersionStatistics
    pool: InstancePool | None = None
    """None: threads of this process run it."""

    def refresh(self) -> None:
        """Sets anew what is slow for it."""
        self.live.slowest.refresh(*self.counts.answered)

    def gauges(self) -> VersionGauges:
        """How it stands."""
        queued, queued_bytes, running = self.batcher.load
        model, version = self.live.plan.key
        slots = self.pool.slots if self.pool is not None else ()
        return VersionGauges(
            row=self.live.row,
            model=model,
            version=version,
            queued=queued,
            queued_bytes=queued_bytes,
            in_flight=self.live.in_flight,
            running=running,
            breaker=gauged(self.breaker.state, admits=self.breaker.admits),
            forced=self.breaker.forced,
            instances=tuple(
                InstanceGauges(
                    slot.name,
                    slot.instance.available,
                    slot.outstanding,
                    gauged(slot.gate.state, admits=slot.gate.admits),
                )
                for slot in slots
            ),
        )
