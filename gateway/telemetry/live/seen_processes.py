"""The serving processes as the telemetry process sees them.

It finds which of them send gauges, which are silent, and for whose records the ring had no room.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.ipc.telemetry_messages import ProcessState
from gateway.records.events import Gauges
from gateway.records.reader import Chunk
from gateway.telemetry.live.gauges import SILENT_AFTER_NS, LatestGauges


class SeenProcesses:
    """By slot, what is known of the serving processes that the main process has named.

    Times are nanoseconds of the clock of cells.
    """

    def __init__(self, window_s: int) -> None:
        """`window_s`: for so many looks, a second apart, a loss counts as recent."""
        self._window_s = window_s
        self._gauges = LatestGauges()
        self._met_ns: dict[tuple[int, int], int] = {}  # by slot and pid
        self._dropped: list[dict[int, int]] = []
        self.speaking: dict[int, Gauges] = {}
        """The latest gauges of those that have sent any of late."""

    def on_event(self, processes: Iterable[ProcessState], now_ns: int) -> None:
        """Takes the processes that there are, as the main process has named them."""
        self._met_ns = {
            (each.slot, each.pid): self._met_ns.get((each.slot, each.pid), now_ns)
            for each in processes
        }

    def consume(self, chunk: Chunk) -> None:
        """Keeps the latest gauges of each process."""
        self._gauges.consume(chunk)

    def refresh(self, processes: Iterable[ProcessState], now_ns: int) -> None:
        """Looks which of these processes send gauges, and what they have dropped."""
        self.speaking = self._gauges.speaking(
            now_ns, {process.slot: process.pid for process in processes}
        )
        dropped = {slot: gauges.dropped for slot, gauges in self.speaking.items()}
        self._dropped = [*self._dropped[-self._window_s :], dropped]

    def silent(self, now_ns: int) -> set[int]:
        """Slots whose processes have been there long enough to have sent gauges, and have not."""
        since_ns = now_ns - SILENT_AFTER_NS
        return {
            slot
            for (slot, _), met_ns in self._met_ns.items()
            if met_ns < since_ns and slot not in self.speaking
        }

    def lately_dropped(self) -> dict[int, int]:
        """By slot, how many cells found no room since the process was first seen in the window."""
        first: dict[int, int] = {}
        for sample in reversed(self._dropped):
            first.update(sample)
        return {
            slot: cells - first[slot]
            for slot, cells in (self._dropped or [{}])[-1].items()
            if cells > first[slot]
        }

    def cpu_percent(self) -> dict[int, float]:
        """By slot, how much of a core each process uses that has sent gauges twice."""
        found = {slot: self._gauges.cpu_percent(slot) for slot in self.speaking}
        return {slot: percent for slot, percent in found.items() if percent is not None}

    def described(self, process: ProcessState) -> dict[str, object]:
        """The JSON of one process."""
        gauges = self.speaking.get(process.slot)
        cpu_percent = self._gauges.cpu_percent(process.slot) if gauges is not None else None
        return {
            "process": process.slot,
            "pid": process.pid,
            "state": process.state,
            "restarts": process.restarts,
            "last_end": process.reason,
            "speaks": gauges is not None,
            "in_flight": gauges.in_flight if gauges else None,
            "loop_lag_ms": round(gauges.loop_lag_s * 1e3, 3) if gauges else None,
            "cpu_percent": round(cpu_percent, 1) if cpu_percent is not None else None,
            "memory_bytes": gauges.rss_bytes if gauges else None,
            "records_dropped": gauges.dropped if gauges else None,
        }

    def __repr__(self) -> str:
        return f"<SeenProcesses {len(self.speaking)} of {len(self._met_ns)} speak>"
