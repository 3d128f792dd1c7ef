"""What the main process tells the telemetry process: the gateway as a whole, whenever it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.control.messages import IndexEntry, Key


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One slot of the serving processes."""

    slot: int
    pid: int
    """0: none at the moment."""
    state: str
    """`starting`, `serving`, `restarting`."""
    restarts: int
    reason: str = ""
    """Why the last one ended; empty: none has."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The gateway at one moment."""

    ready: bool
    """What ServerReady answers."""
    phase: str
    """`starting`, `serving`, `draining`, `stopping`."""
    index: tuple[IndexEntry, ...]
    rows: Mapping[int, Key] = field(default_factory=dict)
    """Of live versions: their rows in the statistics table."""
    processes: tuple[ProcessState, ...] = ()
    address: str = ""
    """Where gRPC is served."""
    started_s: float = 0.0
    """Of the Unix epoch."""
