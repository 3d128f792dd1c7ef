"""The settings of a gateway: the options of its parts, put together.

They come from a file (`--config`) and the command line, which wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.config.control import ControlOptions
from gateway.config.opentelemetry import OtelOptions
from gateway.records.sampling import SamplingPlan

IoMode = Literal["auto", "polling", "event-engine"]


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """The settings of a serving process; it travels over the control link."""

    transport: str = "auto"
    """`completion-queue`, `aio`, or `auto`: the first where this grpcio allows it."""
    max_message_bytes: int = 64 << 20
    max_concurrent_calls: int = 48
    """Calls a connection may have open, and call slots offered to gRPC's core."""
    max_in_flight_per_process: int = 0
    """Requests accepted and not yet answered, over all models.

    This process's share of --max-in-flight, rounded up; 0: by the queues.
    """
    max_in_flight_bytes_per_process: int = 0
    """Their inputs: this process's share of --max-in-flight-bytes, rounded up; 0: by the queues."""
    max_connection_age_s: float = 0.0
    """0: connections are never asked to leave."""
    max_connection_age_grace_s: float = 30.0
    min_client_ping_interval_s: float = 5.0
    response_compression: str = "none"
    tls_certificate: bytes = b""
    """PEM; empty: plaintext."""
    tls_key: bytes = field(default=b"", repr=False)
    tls_client_ca: bytes = b""
    admin_token: str = field(default="", repr=False)
    """Bearers of it may change the server; empty: only callers from this machine may."""
    trust_loopback: bool = True
    """Callers from this machine may change the server without the token."""
    worker_threads: int = 4
    """Threads of one serving process that run batches, for all versions together."""
    cores: int = 1
    """Cores that one serving process may count on."""
    log_level: str = "info"
    log_format: str = "human"
    """`human` or `json`."""
    access_log: str = "off"
    """See `gateway.config.access_log_choice`."""
    grpc_experiments: str = ""
    """What gRPC's core is to read as GRPC_EXPERIMENTS.

    Chosen by `gateway.serving.wire.transport.io_mode`.
    """
    sampling: SamplingPlan = field(default_factory=SamplingPlan)
    """Which requests are to be seen in traces, until trace settings say otherwise."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """The settings of the telemetry process; it travels over its link."""

    otel: OtelOptions = field(default_factory=OtelOptions)
    environment: tuple[tuple[str, str | None], ...] = ()
    """Variables to set, or to take away (None), before OpenTelemetry is imported.

    What our configuration says wins.
    """
    metrics_names: str = "gateway"
    """Whose names `/metrics` bears where nobody asks for others: `gateway`, `triton` or `all`."""
    trace_url: str = ""
    """Where a trace is shown, `{trace_id}` in the place of its id.

    Empty: pages name the id alone.
    """
    log_level: str = "info"
    log_format: str = "human"
    """`human` or `json`."""
    access_log: str = "off"
    """See `gateway.config.access_log_choice`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a gateway."""

    models: Path
    """The repository, or one model."""
    name: str = ""
    """What a single model is called; empty: as its folder."""
    control: ControlOptions = field(default_factory=ControlOptions)
    serving: ServingSettings = field(default_factory=ServingSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    processes_reason: str = ""
    """Why so many serving processes run, for people."""
    io_mode: IoMode = "auto"
    cache_dir: Path | None = None
    """Where the findings of inspections are kept; None: under XDG_CACHE_HOME."""
    default_max_batch_size: int = 64
    """For versions that are batched on evidence; 0: none is."""
    max_queue_requests: int = 4096
    """Requests of one version that may wait in one process.

    Where its configuration says nothing.
    """
    max_queue_bytes: int = 512 << 20
