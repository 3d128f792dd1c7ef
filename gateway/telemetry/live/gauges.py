"""What serving processes say of themselves once a second, as the telemetry process keeps it.

It keeps the latest gauges of each, and finds which processes still send any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.records.breaker_state import CLOSED, HALF_OPEN, OPEN, TO_TRY, state_of
from gateway.records.events import Gauges, VersionGauges
from gateway.records.reader import Chunk

SILENT_AFTER_NS: Final = 4_000_000_000
"""A process is silent without gauges for so long; they come every second."""
_WORST_FIRST: Final = (OPEN, HALF_OPEN, CLOSED)


@dataclass(frozen=True, slots=True)
class _Latest:
    latest: Gauges
    cpu_percent: float | None = None
    """How much of one core it used between the latest two gauges."""


class LatestGauges:
    """The latest gauges of each process, by slot."""

    def __init__(self) -> None:
        self._latest: dict[int, _Latest] = {}

    def consume(self, chunk: Chunk) -> None:
        """Keeps the latest gauges of each process."""
        for gauges in chunk.gauges:
            before = self._latest.get(chunk.slot)
            cpu_percent = None
            if (
                before is not None
                and before.latest.pid == gauges.pid
                and gauges.at_ns > before.latest.at_ns
            ):
                cpu_percent = (
                    (gauges.cpu_s - before.latest.cpu_s)
                    / (gauges.at_ns - before.latest.at_ns)
                    * 1e11
                )
            self._latest[chunk.slot] = _Latest(gauges, cpu_percent)

    def speaking(self, now_ns: int, pids: Mapping[int, int]) -> dict[int, Gauges]:
        """The gauges of processes that run and have sent any of late, by slot.

        `pids`: the processes that run, by slot.
        """
        return {
            slot: latest.latest
            for slot, latest in sorted(self._latest.items())
            if self._speaks(slot, now_ns, pids)
        }

    def cpu_percent(self, slot: int) -> float | None:
        """How much of one core a process uses; None: it is not known yet."""
        return self._latest[slot].cpu_percent

    def _speaks(self, slot: int, now_ns: int, pids: Mapping[int, int]) -> bool:
        latest = self._latest[slot].latest
        return pids.get(slot) == latest.pid and now_ns - latest.at_ns <= SILENT_AFTER_NS

    def __repr__(self) -> str:
        return f"<LatestGauges {len(self._latest)} processes>"


Standing = tuple[tuple[int, VersionGauges], ...]
"""One version in each process that has it: slot and gauges."""


def standings(speaking: Mapping[int, Gauges]) -> dict[int, Standing]:
    """How each version stands in the processes that speak, by row of the statistics table."""
    found: dict[int, Standing] = {}
    for slot, gauges in speaking.items():
        for version in gauges.versions:
            found[version.row] = (*found.get(version.row, ()), (slot, version))
    return found


def totals(standing: Iterable[Standing]) -> dict[str, int]:
    """The gauges that add up over processes and versions, as JSON has them."""
    versions = [version for each in standing for _, version in each]
    return {
        "queued": sum([version.queued for version in versions]),
        "queued_bytes": sum([version.queued_bytes for version in versions]),
        "in_flight": sum([version.in_flight for version in versions]),
        "running_batches": sum([version.running for version in versions]),
    }


def described(standing: Standing) -> dict[str, object]:
    """The JSON of one version's gauges.

    `breaker` is the worst that it has in any process, empty where there is none. One is to try that
    is open and lets the next request through.
    """
    states = [state_of(version.breaker) for _, version in standing]
    return {
        **totals([standing]),
        "breaker": _worst(states),
        "breaker_open_processes": states.count(OPEN),
        "breaker_to_try_processes": [version.breaker for _, version in standing].count(TO_TRY),
        "breaker_processes": len(states),
        "breaker_forced": next((version.forced for _, version in standing if version.forced), ""),
        "instances": [
            {
                "process": slot,
                "name": each.name,
                "available": each.available,
                "running_batches": each.running,
                "breaker": state_of(each.breaker),
                "breaker_to_try": each.breaker == TO_TRY,
            }
            for slot, version in standing
            for each in version.instances
        ],
    }


def _worst(states: Iterable[str]) -> str:
    present = set(states)
    return next((state for state in _WORST_FIRST if state in present), "")
