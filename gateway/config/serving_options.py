"""The options of serving processes, and defaults for models.

The main process reads them, and makes the settings of which each serving process gets a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import msgspec

from gateway.config.log_options import LogOptions
from gateway.config.option import DURATION, SIZE, Option
from gateway.config.written_values import process_count
from gateway.records.sampling import SamplingPlan

IoMode = Literal["auto", "polling", "event-engine"]

LEAST_WORKER_THREADS = 4
"""One slow model does not keep the others waiting, even on one core."""

_MOST_MESSAGE_BYTES = (1 << 31) - 1  # gRPC counts them in 32 bits
_MOST_CONNECTION_AGE_S = 20 * 86400.0  # gRPC counts it in milliseconds, in 32 bits


class RunOptions(msgspec.Struct, frozen=True):
    """How serving processes run."""

    title: ClassVar = "how it runs"
    processes: Annotated[
        int,
        Option(
            "serving processes; auto: one a core, fewer where their copies of the models take over "
            "a quarter of memory",
            "N",
            default="auto",
            parse=process_count,
        ),
    ] = 0
    worker_threads: Annotated[
        int,
        Option(
            "threads of each process that run batches",
            "N",
            default=f"its cores, at least {LEAST_WORKER_THREADS}",
            least=1,
        ),
    ] = 0
    transport: Annotated[
        Literal["auto", "completion-queue", "aio"],
        Option(
            "completion-queue, aio, or auto: the first, which is quicker, if this grpcio allows it",
            "NAME",
        ),
    ] = "auto"
    io_mode: Annotated[
        IoMode,
        Option(
            "grpcio's I/O: polling, event-engine, or auto: the quicker one that this grpcio has",
            "MODE",
        ),
    ] = "auto"


class LimitOptions(msgspec.Struct, frozen=True):
    """What one connection, and all of them together, may ask."""

    title: ClassVar = "limits"
    max_message_bytes: Annotated[
        int, Option("longest message either way", SIZE, key="max_message_size")
    ] = 64 << 20
    max_concurrent_calls: Annotated[
        int, Option("calls that one connection may have open", "N", least=1)
    ] = 48
    """Call slots offered to gRPC's core as well."""
    max_in_flight: Annotated[
        int,
        Option(
            "requests accepted and not yet answered, over all models and processes (each has its "
            "share, rounded up); 0: by the queues",
            "N",
            least=0,
        ),
    ] = 0
    max_in_flight_bytes: Annotated[
        int,
        Option("their inputs, over all models and processes likewise; 0B: by the queues", SIZE),
    ] = 0
    max_connection_age_s: Annotated[
        float,
        Option(
            "connections are asked to leave after it, so that clients spread over the processes "
            "anew; 0s: never",
            DURATION,
        ),
    ] = 0.0
    max_connection_age_grace_s: Annotated[
        float, Option("time that such a connection has to end its calls", DURATION)
    ] = 30.0
    min_client_ping_interval_s: float = 5.0
    response_compression: Annotated[
        Literal["none", "gzip"], Option("none, or gzip for callers that take it", "HOW")
    ] = "none"

    def __post_init__(self) -> None:
        if faults := tuple(self._faults()):
            raise ValueError(*faults)

    def _faults(self) -> Iterator[str]:
        if self.max_message_bytes == 0:
            yield "--max-message-size: must be more than 0B"
        if self.max_message_bytes > _MOST_MESSAGE_BYTES:
            yield (
                "--max-message-size: must be below 2GiB, which is as much as gRPC can "
                f"send, got {self.max_message_bytes}"
            )
        for option, age in (
            ("--max-connection-age", self.max_connection_age_s),
            ("--max-connection-age-grace", self.max_connection_age_grace_s),
        ):
            if age > _MOST_CONNECTION_AGE_S:
                yield f"{option}: at most 480h, got {age}"


class ModelDefaults(msgspec.Struct, frozen=True):
    """What holds for models whose configuration says nothing."""

    title: ClassVar = "limits"
    default_max_batch_size: Annotated[
        int,
        Option(
            "rows in a batch of models that say nothing and were seen to batch; 0: none is batched",
            "N",
            least=0,
        ),
    ] = 64
    max_queue_requests: Annotated[
        int, Option("requests that may wait for one version in one process", "N", least=1)
    ] = 4096
    max_queue_bytes: Annotated[
        int,
        Option("input that may wait for one version in one process", SIZE, key="max_queue_size"),
    ] = 512 << 20

    def __post_init__(self) -> None:
        if self.max_queue_bytes == 0:
            raise ValueError("--max-queue-size: must be more than 0B")


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """What a serving process gets at its start; it travels over the control link."""

    run: RunOptions = field(default_factory=RunOptions)
    logs: LogOptions = field(default_factory=LogOptions)
    limits: LimitOptions = field(default_factory=LimitOptions)
    max_in_flight_per_process: int = 0
    """This process's share of --max-in-flight, rounded up; 0: by the queues."""
    max_in_flight_bytes_per_process: int = 0
    """This process's share of --max-in-flight-bytes, rounded up; 0: by the queues."""
    tls_certificate: bytes = b""
    """PEM; empty: plaintext."""
    tls_key: bytes = field(default=b"", repr=False)
    tls_client_ca: bytes = b""
    admin_token: str = field(default="", repr=False)
    """Bearers of it may change the server; empty: only callers from this machine may."""
    trust_loopback: bool = True
    """Callers from this machine may change the server without the token."""
    worker_threads: int = LEAST_WORKER_THREADS
    """Threads of one serving process that run batches, for all versions together."""
    cores: int = 1
    """Cores that one serving process may count on."""
    grpc_experiments: str = ""
    """What gRPC's core is to read as GRPC_EXPERIMENTS.

    Chosen by `gateway.serving.wire.transport.io_mode`.
    """
    sampling: SamplingPlan = field(default_factory=SamplingPlan)
    """Which requests are to be seen in traces, until trace settings say otherwise."""
