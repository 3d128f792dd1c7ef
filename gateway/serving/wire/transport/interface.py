"""What every transport offers the services, and the services offer every transport.

Runs in a serving process. A method is a coroutine function over bytes. Raising a `GatewayError`
ends the call with the status that its class has; raising `CallEnded` ends it with any status;
anything else ends it with INTERNAL and is logged. A call whose client has gone or whose deadline
has passed is cancelled: its coroutine sees CancelledError at the point where it waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from gateway.core.errors import RequestTooLarge

Metadata = tuple[tuple[str, str | bytes], ...]


class Call(Protocol):
    """One call as its method sees it."""

    @property
    def deadline(self) -> float:
        """When the caller stops waiting, in seconds of the monotonic clock; infinity: never."""
        ...

    def metadata(self) -> Metadata:
        """The caller's metadata; keys are lower case, `-bin` values are bytes."""
        ...

    def peer(self) -> str:
        """The caller's address in gRPC's form, `ipv4:127.0.0.1:51230`."""
        ...


class StreamCall(Call, Protocol):
    """A call with many messages either way."""

    async def receive(self) -> bytes | None:
        """The caller's next message; None when it will send no more.

        Raises RequestTooLarge for one over the message limit; the next one can be received.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Sends one message; returns when there is room for the next."""
        ...


UnaryMethod = Callable[[Call, bytes], Coroutine[Any, Any, bytes]]
StreamMethod = Callable[[StreamCall], Awaitable[None]]


class CallEnded(Exception):
    """Ends a call with this status; `code` is gRPC's number, `trailers` goes with it."""

    def __init__(self, code: int, details: str, trailers: Metadata = ()) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = trailers


Refused = Callable[[Call, RequestTooLarge], None]


class Methods(msgspec.Struct, frozen=True):
    """The methods of a server by path (`/package.Service/Method`)."""

    unary: Mapping[str, UnaryMethod] = msgspec.field(default_factory=dict)
    stream: Mapping[str, StreamMethod] = msgspec.field(default_factory=dict)
    hot: str = ""
    """The unary method that is called most; a transport may serve it by a shorter way."""
    refused: Mapping[str, Refused] = msgspec.field(default_factory=dict)
    """By path, who is told of a message over the message limit that ends the call.

    For a stream those are messages that gRPC's core refuses, where the transport hears of it; of
    others its method gets the error from `receive`.
    """


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """What a transport listens on, and its limits."""

    addresses: tuple[str, ...] = ("127.0.0.1:0",)
    """Hosts and ports; port 0 takes a free one, and only one address may have it."""
    max_message_bytes: int = 64 << 20
    """Longest message either way; longer ones end with RESOURCE_EXHAUSTED.

    Triton: 2 GiB, gRPC: 4 MiB. gRPC's core lets somewhat longer messages in (`core_limit`), so that
    they are refused here, with a text that names the option, and counted.
    """
    max_concurrent_calls: int = 4096
    """Calls that a connection may have open; callers hold back the rest on their own side.

    It is also the most call slots that are offered to the core.
    """
    reuse_port: bool = False
    """Several processes share the port."""
    keepalive_time_s: float = 60.0
    """Silence after which a connection is pinged (gRPC's default: two hours).

    It finds clients that vanished without a word, and those whose TCP reset gRPC's core overlooks
    when its I/O is done by polling (the reset came together with the last data).
    """
    keepalive_timeout_s: float = 20.0
    """Time for the answer to a ping before the connection counts as dead (gRPC's default)."""
    min_client_ping_interval_s: float = 5.0
    """Clients may ping this often, with or without calls.

    gRPC's own five minutes drops clients that ping every ten seconds.
    """
    max_connection_age_s: float = 0.0
    """Connections are asked to leave after this time, give or take gRPC's 10 %; 0: never.

    So clients spread anew over the serving processes.
    """
    max_connection_age_grace_s: float = 30.0
    """Time such a connection has to end its calls."""
    response_compression: str = "none"
    """`none` or `gzip`, for callers that accept it; tensors of floats hardly shrink."""
    tls_certificate: bytes = b""
    """PEM chain; empty: plaintext."""
    tls_key: bytes = field(default=b"", repr=False)
    tls_client_ca: bytes = b""
    """PEM roots that client certificates must lead to; empty: none are asked for."""


class Transport(Protocol):
    """A listening gRPC server on the running event loop."""

    async def start(self) -> int:
        """Listens on every address, and returns the first one's port.

        Raises OSError where that fails, ValueError for unusable TLS files.
        """
        ...

    async def stop(self, grace_s: float) -> None:
        """Accepts no more, finishes what was accepted within the grace, and cancels the rest.

        Returns when all is gone.
        """
        ...


_MARGIN_BYTES: Final = 16 << 20
_MOST_BYTES: Final = (1 << 31) - 1  # what the core can count
_HEAD_BYTES: Final = 512


def core_limit(limit: int) -> int:
    """Longest message that gRPC's core takes in, where `limit` is the longest that is served.

    Somewhat more, but at most 16 MiB and never twice as much: it is memory that callers can have
    taken. What is longer the core refuses when it has read the length.
    """
    return min(limit + min(limit, _MARGIN_BYTES), _MOST_BYTES)


def too_large(message: bytes, limit: int) -> RequestTooLarge:
    """The refusal of a message over the limit."""
    return RequestTooLarge(
        f"the message has {len(message)} bytes, and may have {limit} (--max-message-size): send "
        "fewer rows, or have the limit raised",
        message[:_HEAD_BYTES],
    )


def refused_by_core(limit: int) -> RequestTooLarge:
    """What is known of a message that the core refused.

    The core says no more than that it did, and has answered the caller in its own words. A message
    that it could not unpack counts as well.
    """
    return RequestTooLarge(
        f"gRPC's core refused a message: it has more than {core_limit(limit)} bytes, and may have "
        f"{limit} (--max-message-size), or cannot be unpacked"
    )


_NEVER_SHEDS: Final = 1 << 30  # the core must not refuse by itself: its callers would see CANCELLED


def channel_arguments(options: TransportOptions) -> tuple[tuple[str, int], ...]:
    """The options as gRPC core's channel arguments (`include/grpc/impl/channel_arg_names.h`)."""
    arguments: dict[str, int] = {
        "grpc.so_reuseport": int(options.reuse_port),
        "grpc.max_receive_message_length": core_limit(options.max_message_bytes),
        "grpc.max_send_message_length": options.max_message_bytes,
        "grpc.max_concurrent_streams": options.max_concurrent_calls,
        # or streams that are over, but not yet freed, count as well, and a client that keeps to the
        # limit sees some of its calls UNAVAILABLE
        "grpc.http.overload_protection": 0,
        "grpc.server.max_pending_requests": _NEVER_SHEDS,
        "grpc.server.max_pending_requests_hard_limit": _NEVER_SHEDS,
        "grpc.server_max_unrequested_time_in_server": 3600,
        "grpc.enable_channelz": 0,
        **_ping_arguments(options),
    }
    if options.max_connection_age_s:
        arguments["grpc.max_connection_age_ms"] = _ms(options.max_connection_age_s)
        arguments["grpc.max_connection_age_grace_ms"] = _ms(options.max_connection_age_grace_s)
    if options.response_compression == "gzip":
        # GRPC_COMPRESS_LEVEL_LOW: gzip, if the caller accepts it; a default algorithm would be
        # forced on callers that cannot read it
        arguments["grpc.default_compression_level"] = 1
    return tuple(arguments.items())


def _ping_arguments(options: TransportOptions) -> dict[str, int]:
    return {
        "grpc.keepalive_time_ms": _ms(options.keepalive_time_s),
        "grpc.keepalive_timeout_ms": _ms(options.keepalive_timeout_s),
        "grpc.keepalive_permit_without_calls": 1,
        # a keepalive ping waits for the answer to any other ping, and that by default for a minute
        "grpc.http2.ping_timeout_ms": _ms(options.keepalive_timeout_s),
        "grpc.http2.min_ping_interval_without_data_ms": _ms(options.min_client_ping_interval_s),
        "grpc.http2.min_recv_ping_interval_without_data_ms": _ms(
            options.min_client_ping_interval_s
        ),
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
