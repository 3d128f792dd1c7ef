"""The gateway as a whole, as the control process shows it to all others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.control.lifecycle.fleet import Fleet
from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.control.processes.stop_phase import Phase, StopProgress
from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.telemetry_messages import Overview, ProcessState

if TYPE_CHECKING:  # imported while the serving processes come up
    from gateway.control.lifecycle.model_control import ModelControl

_PHASES = {
    Phase.SERVING: "serving",
    Phase.DRAINING: "draining",
    Phase.STOPPING: "stopping",
    Phase.KILLED: "stopping",
}


class GatewayState:
    """Whether the gateway is ready, which models it has, and how far its stop has come.

    Its parts are the caller's; this only reads them.
    """

    def __init__(self, fleet: Fleet, stop: StopProgress, settings: RuntimeSettings) -> None:
        self._fleet = fleet
        self._stop = stop
        self._settings = settings
        self._started_s = time.time()
        self.models: ModelControl | None = None
        """The models; None until their source is open."""

    def __repr__(self) -> str:
        return f"<GatewayState {self._phase}, {'' if self.ready else 'not '}ready>"

    @property
    def ready(self) -> bool:
        """The models are ready, and the gateway is not on its way out."""
        return self.models is not None and self.models.ready and self._stop.phase is Phase.SERVING

    @property
    def _phase(self) -> str:
        return _PHASES[self._stop.phase] if self.models is not None else "starting"

    @property
    def _index(self) -> tuple[IndexEntry, ...]:
        return self.models.index if self.models is not None else ()

    async def publish(self) -> None:
        """Has every serving process answer by the present state; returns when each does."""
        settings = self._settings
        await self._fleet.publish(
            ready=self.ready,
            index=self._index,
            trace_settings=settings.trace,
            log_settings=settings.log,
            trace_changes=settings.trace_changes,
        )

    def overview(self, processes: tuple[ProcessState, ...], address: str) -> Overview:
        """What the telemetry process shows; `address`: where gRPC is served."""
        return Overview(
            ready=self.ready,
            phase=self._phase,
            index=self._index,
            rows={
                plan.statistics_row: key
                for key, plan in self._fleet.live.items()
                if plan.statistics_row >= 0
            },
            processes=processes,
            address=address,
            started_s=self._started_s,
        )
