"""What the main process tells the telemetry process.

How it is set up, then the gateway as a whole, whenever it changes; at last `Stop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.plan import Key
from gateway.ipc.messages import IndexEntry


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


@dataclass(frozen=True, slots=True)
class TelemetryStart:
    """The first message to a telemetry process."""

    settings: object
    """Frozen; made by the caller of the control side, opaque to it."""
    http_fds: tuple[int, ...]
    """Listening sockets that it inherited; none: no HTTP."""
    overview: Overview


@dataclass(frozen=True, slots=True)
class TelemetryStopped:
    """The last message of a telemetry process.

    What was written down has been exported, as far as that could be done in time.
    """
