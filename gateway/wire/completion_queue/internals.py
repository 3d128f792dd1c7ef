"""Everything private to grpcio that this transport leans on, and the check that it is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import grpc
from grpc._cython import cygrpc

from gateway.wire.transport import TransportOptions, channel_arguments

_NEEDED: Final = {
    "CompletionQueue": ("poll", "shutdown"),
    "Server": (
        "add_http2_port", "cancel_all_calls", "destroy", "register_completion_queue", "register_method", "request_call",
        "request_registered_call", "shutdown", "start",
    ),
    "Call": ("start_server_batch", "peer", "cancel"),
    "RequestCallEvent": ("call", "call_details", "invocation_metadata", "success", "tag"),
    "BatchOperationEvent": ("batch_operations", "success", "tag"),
    "CallDetails": ("deadline", "method"),
    "CompletionType": ("queue_timeout", "queue_shutdown"),
    "ReceiveMessageOperation": ("message",),
    "ReceiveCloseOnServerOperation": ("cancelled",),
    "SendInitialMetadataOperation": (),
    "SendMessageOperation": (),
    "SendStatusFromServerOperation": (),
    "StatusCode": ("ok",),
}  # fmt: skip


def missing_internals() -> list[str]:
    """What this grpcio lacks of the names this transport needs, tried as far as that goes without a port; empty: all is there."""
    return [*_missing_names()] or [*_failing_uses()]


def _missing_names() -> Iterator[str]:
    for owner, names in _NEEDED.items():
        found = getattr(cygrpc, owner, None)
        if found is None:
            yield f"cygrpc.{owner}"
        else:
            yield from (f"cygrpc.{owner}.{name}" for name in names if not hasattr(found, name))
    if not hasattr(cygrpc, "insecure_server_credentials"):
        yield "cygrpc.insecure_server_credentials"


def _failing_uses() -> Iterator[str]:
    """Builds each operation, starts a server without a port, and takes it down again."""
    try:
        cygrpc.ReceiveMessageOperation(0)
        cygrpc.ReceiveCloseOnServerOperation(0)
        cygrpc.SendMessageOperation(b"", 0)
        cygrpc.SendInitialMetadataOperation((), 0)
        cygrpc.SendStatusFromServerOperation((), cygrpc.StatusCode.ok, b"", 0)
        queue = cygrpc.CompletionQueue()
        server = cygrpc.Server((), False)  # the parameter has no public name
        server.register_completion_queue(queue)
        server.register_method("/check/Check")
        server.start()
        server.request_registered_call(queue, queue, "/check/Check", "registered")
        server.request_call(queue, queue, "any")
        server.shutdown(queue, "stopped")
        tags = {queue.poll().tag for _ in range(3)}
        server.destroy()
        queue.shutdown()
        if tags != {"registered", "any", "stopped"} or queue.poll().completion_type != cygrpc.CompletionType.queue_shutdown:
            yield f"events at shutdown came as {tags}"
    except Exception as error:  # noqa: BLE001  # whatever fails here means: not this transport
        yield f"{type(error).__name__}: {error}"


def new_server(options: TransportOptions) -> tuple[Any, Any]:
    """A core server and its completion queue."""
    queue = cygrpc.CompletionQueue()
    server = cygrpc.Server(channel_arguments(options), False)
    server.register_completion_queue(queue)
    return server, queue


def credentials(options: TransportOptions) -> Any:
    """The core's server credentials; raises ValueError where the certificate, the key or the client roots cannot be used."""
    if not options.tls_certificate:
        return cygrpc.insecure_server_credentials()
    roots = options.tls_client_ca or None
    made = grpc.ssl_server_credentials(((options.tls_key, options.tls_certificate),), roots, require_client_auth=roots is not None)
    return made._credentials
