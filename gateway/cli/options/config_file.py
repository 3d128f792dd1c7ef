"""What the file given with `--config`, and the command line, may say."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

import msgspec

from gateway.config.access_log_choice import AccessChoice
from gateway.config.quantities import ByteSize, Duration
from gateway.config.settings import IoMode

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
_TRACE_URL: Final = "http://HOST:16686/trace/{trace_id}"


class HttpPort(int):
    """A port, 0 for a free one, or -1 for none."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The port that is given; raises ValueError. YAML reads a bare `off` as false."""
        if value is False or value == "off":
            return cls(-1)
        return cls(_whole_number(value, 0, 65535, "a port of 0 to 65535 (0: a free one), or off"))


class ProcessCount(int):
    """A number of processes, or 0 for as many as the machine can take."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The number that is given; raises ValueError."""
        return (
            cls(0)
            if value == "auto"
            else cls(_whole_number(value, 1, 64, "a number of 1 to 64, or auto"))
        )


class Ratio(float):
    """A share, 0 to 1."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The share that is given; raises ValueError."""
        try:
            share = (
                float(value)
                if isinstance(value, (str, int, float)) and not isinstance(value, bool)
                else -1.0
            )
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise ValueError(f"expected a number from 0 to 1, got {value!r}")
        return cls(share)


class TraceUrl(str):
    """Where the page links traces to, `{trace_id}` in the id's place; empty: nowhere."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The URL that is given; raises ValueError.

        It stands in a link of the page, so a scheme that runs something is refused.
        """
        if value != "" and not (
            isinstance(value, str)
            and re.fullmatch(r"https?://[^\s/?#{}]+[/?#]\S*", value)
            and "{trace_id}" in value
        ):
            raise ValueError(
                "expected http:// or https://, a host, and {trace_id} in the id's place, such "
                f"as {_TRACE_URL}, got {value!r}"
            )
        return cls(str(value))


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of the file given with `--config` (YAML).

    Each is the command line's option of the same name, which wins over it.

    None: not set.
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
    max_in_flight: NotNegative | None = None
    max_in_flight_bytes: ByteSize | None = None
    max_connection_age: Duration | None = None
    max_connection_age_grace: Duration | None = None
    response_compression: Literal["none", "gzip"] | None = None
    default_max_batch_size: NotNegative | None = None
    max_queue_requests: Positive | None = None
    max_queue_size: ByteSize | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    log_format: Literal["human", "json"] | None = None
    access_log: AccessChoice | None = None
    otlp_endpoint: str | None = None
    otlp_protocol: Literal["grpc", "http/protobuf"] | None = None
    traces_exporter: str | None = None
    trace_ratio: Ratio | None = None
    trace_url: TraceUrl | None = None
    metrics_exporter: str | None = None
    metrics_names: Literal["gateway", "triton", "all"] | None = None


PATHS = ("models", "tls_cert", "tls_key", "tls_client_ca", "admin_token_file", "cache_dir")
"""Keys whose values are paths."""


def merge(first: ConfigFile, second: ConfigFile) -> ConfigFile:
    """What either says; where both speak, the first."""
    names = ConfigFile.__struct_fields__
    return ConfigFile(
        **{
            name: getattr(second, name) if getattr(first, name) is None else getattr(first, name)
            for name in names
        }
    )


def _whole_number(value: object, least: int, most: int, expected: str) -> int:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.isdigit():
        text = int(text[:20])
    if isinstance(text, bool) or not isinstance(text, int) or not least <= text <= most:
        raise ValueError(f"expected {expected}, got {value!r}")
    return text
