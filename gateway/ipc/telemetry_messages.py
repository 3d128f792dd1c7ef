"""Messages between the control process and the telemetry process.

The first is `TelemetryStart`; an `Overview` follows whenever the gateway changes, then `Stop`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.plan import Key
from gateway.ipc.repository_index import IndexEntry


class ProcessState(msgspec.Struct, frozen=True):
    """One slot of the serving processes."""

    slot: int
    pid: int
    """Its process's id; 0: it has none at the moment."""
    state: str
    """`starting`, `serving`, `restarting`."""
    restarts: int
    reason: str = ""
    """Why the slot's last process ended; empty: none has ended."""


class Overview(msgspec.Struct, frozen=True):
    """The gateway at one moment."""

    ready: bool
    """What ServerReady answers."""
    phase: str
    """`starting`, `serving`, `draining`, `stopping`."""
    index: tuple[IndexEntry, ...]
    rows: Mapping[int, Key] = msgspec.field(default_factory=dict)
    """The live version of each row of the statistics table."""
    processes: tuple[ProcessState, ...] = ()
    address: str = ""
    """Where gRPC is served."""
    started_s: float = 0.0
    """When the gateway was started, in seconds of the Unix epoch."""


class TelemetryStart(msgspec.Struct, frozen=True):
    """The first message to a telemetry process."""

    settings: object
    """Frozen; made by the control process's caller, and opaque to the control process."""
    http_fds: tuple[int, ...]
    """Listening sockets that the process inherited; none: HTTP is not served."""
    overview: Overview


class TelemetryStopped(msgspec.Struct, frozen=True):
    """The last message of a telemetry process: its records are exported, as far as time allowed."""
