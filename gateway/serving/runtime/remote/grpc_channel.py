"""gRPC channels to other servers: one for each address, shared by all versions that use it.

Runs in a serving process. These are grpc's synchronous channels, used through futures: grpc.aio's
poller would share the process with a server that works on completion queues of its own. What gRPC
can do by itself is asked of it: keepalive, re-connection, names with several servers behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Self

import grpc

from gateway.core.protection import RemotePlan

# what a channel may take to drop its calls before nobody waits for it any more
_CLOSED_S: Final = 5.0

_ARGUMENTS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # the gateway repeats batches itself, within a budget
    # A peer that vanished without a sign is noticed also while nothing is called. How many pings go
    # without data stays at gRPC's bound: servers not configured to tolerate more would close
    # the connection.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # despite its name: how long an attempt to connect may take
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
)


def has_many_servers(address: str) -> bool:
    """Whether several servers may stand behind the address.

    That is so for a DNS name that is to be resolved, and for a list.
    """
    scheme, _, rest = address.partition(":")
    return scheme == "dns" or (scheme in ("ipv4", "ipv6") and "," in rest)


def service_config(address: str) -> str:
    """The service config for gRPC: the servers behind the address take turns.

    Where there may be many, only those take part that report to be serving.
    """
    # it also re-connects at once, not at the next call
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if has_many_servers(address):
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)


class Channel:
    """A channel to one address; its methods take and return bytes."""

    def __init__(self, address: str, tls_ca: bytes) -> None:
        self.address = address
        self.users = 0
        arguments = [*_ARGUMENTS, ("grpc.service_config", service_config(address))]
        self._core: Any = (
            grpc.secure_channel(address, grpc.ssl_channel_credentials(tls_ca), arguments)
            if tls_ca
            else grpc.insecure_channel(address, arguments)
        )
        self._unary: dict[str, Any] = {}

    def unary(self, method: str) -> Any:
        """The `grpc.UnaryUnaryMultiCallable` of a method."""
        found = self._unary.get(method)
        if found is None:
            found = self._core.unary_unary(method)
            self._unary[method] = found
        return found

    def stream(self, method: str) -> Any:
        """The `grpc.UnaryStreamMultiCallable` of a method."""
        return self._core.unary_stream(method)

    def close(self) -> None:
        """Cancels what is under way; blocks until that is over."""
        self._core.close()

    def __repr__(self) -> str:
        return f"<Channel {self.address}, {self.users} users>"


async def ask(
    channel: Channel,
    method: str,
    message: bytes,
    metadata: Sequence[tuple[str, str]],
    timeout_s: float,
) -> Any:
    """One call, awaited on the event loop: the grpc call, ended with whatever status.

    Raises what grpc raises for a channel that was closed, or for metadata that it does not take.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def answered(_call: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: None if over.done() else over.set_result(None))

    call = channel.unary(method).future(message, timeout=timeout_s, metadata=metadata)
    call.add_done_callback(answered)
    try:
        await over
    except asyncio.CancelledError:
        call.cancel()
        raise
    return call


class Channels:
    """The channels of this process, and one thread for what would hold the event loop too long."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, bytes], Channel] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remote")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes what was not given back."""
        for channel in list(self._open.values()):
            channel.users = 1
            await self.give_back(channel)
        self._thread.shutdown(wait=False)

    def borrow(self, plan: RemotePlan) -> Channel:
        """The channel to this address, to be given back."""
        key = (plan.address, plan.tls_ca)
        channel = self._open.get(key)
        if channel is None:
            channel = Channel(*key)
            self._open[key] = channel
        channel.users += 1
        return channel

    async def give_back(self, channel: Channel) -> None:
        """Closes the channel if nobody else has it."""
        channel.users -= 1
        if channel.users:
            return
        self._open = {key: kept for key, kept in self._open.items() if kept is not channel}
        closed = asyncio.ensure_future(
            asyncio.get_running_loop().run_in_executor(self._thread, channel.close)
        )
        await asyncio.wait([closed], timeout=_CLOSED_S)

    def in_thread(self, job: Callable[[], None]) -> None:
        """Runs a job that does not raise in the thread."""
        self._thread.submit(job)

    def __repr__(self) -> str:
        return f"<Channels {', '.join(map(repr, self._open.values()))}>"
