"""Everything private to grpcio that this transport leans on, and the check that it is there.

Runs in a serving process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import grpc
from grpc._cython import cygrpc

from gateway.serving.wire.transport.interface import TransportOptions, channel_arguments
from gateway.serving.wire.transport.tls import server_credentials

_NEEDED: Final = {
    "CompletionQueue": ("poll", "shutdown"),
    "Server": (
        "add_http2_port",
        "cancel_all_calls",
        "destroy",
        "register_completion_queue",
        "register_method",
        "request_call",
        "request_registered_call",
        "shutdown",
        "start",
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
}
_CHECK_S: Final = 5.0  # events that take longer never come


def missing_internals(module: Any = cygrpc) -> list[str]:
    """What this grpcio (its `cygrpc` module) lacks for this transport; empty: nothing.

    It is tried as far as that goes without a port.
    """
    return [*_missing_names(module)] or [*_failing_uses(module)]


def _missing_names(module: Any) -> Iterator[str]:
    for owner, names in _NEEDED.items():
        found = getattr(module, owner, None)
        if found is None:
            yield f"cygrpc.{owner}"
        else:
            yield from (f"cygrpc.{owner}.{name}" for name in names if not hasattr(found, name))
    if not hasattr(module, "insecure_server_credentials"):
        yield "cygrpc.insecure_server_credentials"
    if not hasattr(grpc.ServerCredentials(None), "_credentials"):
        yield "grpc.ServerCredentials._credentials"


def _failing_uses(cygrpc: Any) -> Iterator[str]:
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
        give_up = time.time() + _CHECK_S  # the queue's deadlines are wall-clock times
        tags = [queue.poll(give_up).tag for _ in range(3)]
        server.destroy()
        queue.shutdown()
        if sorted(map(str, tags)) != ["any", "registered", "stopped"]:
            yield f"events at shutdown as expected: they came as {tags}"
        elif queue.poll(give_up).completion_type != cygrpc.CompletionType.queue_shutdown:
            yield "the event of an empty queue"
    except Exception as error:  # noqa: BLE001  # whatever fails here means: not this transport
        yield f"{type(error).__name__}: {error}"


def new_server(options: TransportOptions) -> tuple[Any, Any]:
    """A core server and its completion queue."""
    queue = cygrpc.CompletionQueue()
    server = cygrpc.Server(channel_arguments(options), False)
    server.register_completion_queue(queue)
    return server, queue


def credentials(options: TransportOptions) -> Any:
    """The core's server credentials.

    Raises ValueError where the certificate, the key or the client roots cannot be used.
    """
    made = server_credentials(options)
    return cygrpc.insecure_server_credentials() if made is None else made._credentials
