"""Every name that the telemetry process gives to spans and their attributes, with its meaning.

None of them has a payload for its value. The RPC names are OpenTelemetry's stable ones (semantic
conventions 1.45, docs/rpc/grpc.md); what is the gateway's own begins with `gateway.`.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.45.0"

# Spans.
INFER: Final = "inference.GRPCInferenceService/ModelInfer"
"""SERVER: one request, from its arrival until its answer was handed to gRPC.

The name is that of the method, as is the attribute `rpc.method`.
"""
STREAM_INFER: Final = "inference.GRPCInferenceService/ModelStreamInfer"
"""SERVER: one request of a stream."""
QUEUE: Final = "queue"
"""INTERNAL, below a request: from its arrival until its batch began.

That covers reading, admission, and waiting for company and for an instance.
"""
BATCH: Final = "batch"
"""INTERNAL, below a request: its batch was joined and ran; linked to the batch's own span."""
BATCH_OF: Final = "batch {model}"
"""INTERNAL, in a trace of its own: one batch, named with its model, linked to its requests."""

CALL: Final = INFER
"""CLIENT: one call to another server that runs a batch.

It stands below the request's span where the batch has one request, else below the batch's.
"""

# Events.
BATCH_STARTED: Final = "gateway.batch.started"
"""An event of a request without spans below it: its batch began."""
BATCH_ENDED: Final = "gateway.batch.ended"
"""An event of a request without spans below it: the model had run."""
COLLATED: Final = "gateway.batch.collated"
"""An event of a batch: the inputs were joined, the model begins."""
RAN: Final = "gateway.batch.ran"
"""An event of a batch: the outputs are there and are split."""

EVENT_NAME: Final = "gateway.{what}"
"""An event of a request's span, at the time of a decision about it.

`gateway.retry` (its batch failed and is run again), `gateway.breaker.refused`, `gateway.fallback`
(a link of the chain was asked, and answered), `gateway.fallback.failed` (it had no answer).
"""
EVENT_TEXT: Final = "gateway.text"
"""An attribute of these events: why, or which link."""

# Attributes of a request by convention.
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
"""gRPC's status, where it is one that the convention calls the server's fault.

For a call to another server that failed it is `_OTHER`.
"""
SERVER_ADDRESS: Final = "server.address"
"""The gateway's own address; for a call to another server, the address that was asked."""
SERVER_PORT: Final = "server.port"
CLIENT_ADDRESS: Final = "client.address"
CLIENT_PORT: Final = "client.port"

# Our own, of requests and of batches.
MODEL_NAME: Final = "gateway.model.name"
"""The name of the model that was found; where there is none, the name that the caller wrote."""
MODEL_VERSION: Final = "gateway.model.version"
"""int: the version that was meant to answer first."""

# Of requests.
REQUEST_ID: Final = "gateway.request.id"
"""The `id` of the message."""
REQUEST_ROWS: Final = "gateway.request.rows"
"""int: rows along the batch axis."""
REQUEST_BYTES: Final = "gateway.request.bytes"
"""int: bytes of its input tensors."""
DEADLINE_S: Final = "gateway.deadline_s"
"""float: the caller's deadline in seconds from arrival; absent: it gave none."""
SLOW: Final = "gateway.slow"
"""bool: among the slowest percent of its version."""
DEGRADED: Final = "gateway.degraded"
"""bool: a fallback answered."""
SERVED_BY: Final = "gateway.served_by"
"""Which fallback answered."""
FALLBACK_REASON: Final = "gateway.fallback_reason"
"""Why the version that was asked for did not answer."""
RETRIES: Final = "gateway.retries"
"""int: how often a batch it was in failed and was run again."""
REASON: Final = "gateway.reason"
"""Why the request failed: a reason of `gateway.core.errors`, such as `circuit_open`."""
ERROR: Final = "gateway.error"
"""The error's text, as the caller got it.

The status of the span has it too where the fault is the server's.
"""
BATCH_TRACE_ID: Final = "gateway.batch.trace_id"
"""The trace of the batch that it ran in, in hexadecimal digits."""
BATCH_SPAN_ID: Final = "gateway.batch.span_id"
BATCH_SIZE: Final = "gateway.batch.size"
"""int: requests in the batch that it ran in."""

# Of batches.
BATCH_ROWS: Final = "gateway.batch.rows"
"""int: rows along the batch axis, without padding."""
BATCH_PADDED_ROWS: Final = "gateway.batch.padded_rows"
"""int: rows that the model ran, where some were added to come to a size that it takes."""
INSTANCE: Final = "gateway.instance"
"""The instance that ran it; absent where threads of the serving process did.

For a call to another server it is the address that was asked.
"""
