"""The settings of a gateway: the options of its parts, put together. They come from a file (`--config`) and the command line, which wins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec

from gateway.control.options import ControlOptions
from gateway.core.quantities import ByteSize, Duration

IoMode = Literal["auto", "polling", "event-engine"]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """What a serving process is told at its start; it travels over the control link."""

    transport: str = "auto"
    """`completion-queue`, `aio`, or `auto`: the first where this grpcio allows it."""
    max_message_bytes: int = 64 << 20
    max_concurrent_calls: int = 4096
    """Calls a connection may have open, and call slots offered to gRPC's core."""
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


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a gateway is told."""

    models: Path
    """The repository, or one model."""
    name: str = ""
    """What a single model is called; empty: as its folder."""
    control: ControlOptions = field(default_factory=ControlOptions)
    serving: ServingSettings = field(default_factory=ServingSettings)
    processes_reason: str = ""
    """Why so many serving processes run, for people."""
    io_mode: IoMode = "auto"
    cache_dir: Path | None = None
    """Where the findings of inspections are kept; None: under XDG_CACHE_HOME."""
    default_max_batch_size: int = 64
    """For versions that are batched on evidence; 0: none is."""
    max_queue_requests: int = 4096
    """Requests of one version that may wait in one process, where its configuration says nothing."""
    max_queue_bytes: int = 512 << 20


class HttpPort(int):
    """A port, 0 for a free one, or -1 for none."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The port that is said; raises ValueError. YAML reads a bare `off` as false."""
        if value is False or value == "off":
            return cls(-1)
        return cls(_whole_number(value, 0, 65535, "a port of 0 to 65535 (0: a free one), or off"))


class ProcessCount(int):
    """A number of processes, or 0 for as many as the machine can take."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The number that is said; raises ValueError."""
        return cls(0) if value == "auto" else cls(_whole_number(value, 1, 64, "a number of 1 to 64, or auto"))


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of the file given with `--config` (YAML). Each is the command line's option of the same name, which wins over it.

    None: nothing was said.
    """

    models: str | None = None
    name: str | None = None
    host: str | None = None
    port: Port | None = None
    http_port: HttpPort | None = None
    processes: ProcessCount | None = None
    transport: Literal["auto", "completion-queue", "aio"] | None = None
    io_mode: IoMode | None = None
    worker_threads: Positive | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    admin_token_file: str | None = None
    trust_loopback: bool | None = None
    model_control: Literal["open", "none", "poll", "explicit"] | None = None
    load_model: tuple[str, ...] | None = None
    poll_interval: Duration | None = None
    strict_readiness: bool | None = None
    exit_on_error: bool | None = None
    drain_delay: Duration | None = None
    grace: Duration | None = None
    cache_dir: str | None = None
    max_message_size: ByteSize | None = None
    max_concurrent_calls: Positive | None = None
    max_connection_age: Duration | None = None
    max_connection_age_grace: Duration | None = None
    response_compression: Literal["none", "gzip"] | None = None
    default_max_batch_size: NotNegative | None = None
    max_queue_requests: Positive | None = None
    max_queue_size: ByteSize | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None


PATHS = ("models", "tls_cert", "tls_key", "tls_client_ca", "admin_token_file", "cache_dir")
"""Keys whose values are paths."""


def merge(first: ConfigFile, second: ConfigFile) -> ConfigFile:
    """What either says; where both speak, the first."""
    names = ConfigFile.__struct_fields__
    return ConfigFile(**{name: getattr(second, name) if getattr(first, name) is None else getattr(first, name) for name in names})


def _whole_number(value: object, least: int, most: int, expected: str) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text[:20])
    if isinstance(text, bool) or not isinstance(text, int) or not least <= text <= most:
        raise ValueError(f"expected {expected}, got {value!r}")
    return text
