"""The few forms that spans come in, each of which the telemetry process encodes once.

What differs from span to span has a column in it.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway.core.errors import REASONS
from gateway.core.grpc_codes import SERVER_FAULTS, status_name
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.otlp_template import Layout, Template, varint
from gateway.telemetry.tracing.span_layouts import (
    CLIENT,
    DROPPED_LINKS,
    EVENTS,
    FAILED,
    INTERNAL,
    LINKS,
    LOCAL,
    REMOTE,
    SERVER,
    SPANS,
    event,
    link,
    span,
)


class Server(NamedTuple):
    """Where callers reach the gateway; empty and 0: not known."""

    address: str = ""
    port: int = 0


class Form(NamedTuple):
    """All that decides how a request's spans look, but for what stands in columns."""

    model: str
    """The model's name; empty: no version was found."""
    version: int
    status: int
    reason: int
    degraded: bool
    slow: bool
    in_stream: bool
    has_parent: bool
    has_deadline: bool
    has_batch: bool
    knows_batch: bool
    batch_failed: bool
    has_detail: bool
    """Whether more follows behind the span, its status too."""
    id_bytes: int
    address_bytes: int
    has_port: bool


def request_template(form: Form, server: Server, *, all_children: bool) -> Template:
    """The spans of one request: those below it first, its own last.

    `all_children`: every request has spans below it; else quick answered requests have events
    instead.
    """
    layout = Layout()
    children = has_children(form, all_children=all_children)
    if children:
        layout.put_open_message(
            SPANS, _child(names.QUEUE, "queue_span", "arrived", "started"), "queue_bytes"
        )
        layout.put_open_message(SPANS, _run(failed=form.batch_failed), "run_bytes")
    layout.put_open_message(
        SPANS, _request(form, server, events=form.knows_batch and not children), "request_bytes"
    )
    return Template(layout)


def has_children(form: Form, *, all_children: bool) -> bool:
    """Whether there are spans below the request's own."""
    return form.knows_batch and (
        all_children or form.has_detail or form.slow or form.degraded or form.status != 0
    )


def call_constants(
    model: str, version: int, address: str, *, failed: bool
) -> dict[str, str | int | bool]:
    """The attributes of a call to another server.

    `address` is as the configuration has it: HOST:PORT, `dns:///NAME:PORT` or another of gRPC's.
    """
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    known = bool(host) and port.isdecimal() and "," not in host
    found: dict[str, str | int | bool] = {
        names.RPC_SYSTEM: "grpc",
        names.RPC_METHOD: names.CALL,
        names.SERVER_ADDRESS: host.strip("[]") if known else address,
        names.SERVER_PORT: int(port) if known else 0,
        names.ERROR_TYPE: "_OTHER" if failed else "",
        names.MODEL_NAME: model,
        names.MODEL_VERSION: version,
        names.INSTANCE: address,
    }
    return {key: value for key, value in found.items() if value}


def call_template(model: str, version: int, address: str, *, failed: bool) -> Template:
    """The span of a call to another server."""
    layout = span(names.CALL, CLIENT, LOCAL, ("trace", "span", "parent"), ("started", "ended"))
    message = Layout()
    for key, value in call_constants(model, version, address, failed=failed).items():
        layout.put_constant(key, value)
    if failed:
        layout.put(FAILED)
    message.put_message(SPANS, layout)
    return Template(message)


def batch_template(model: str, version: int, instance: str, flags: int) -> Template:
    """A batch's span; its links follow behind it.

    `flags`: 1 it failed, 2 rows were added to it, 4 links found no room.
    """
    layout = span(
        names.BATCH_OF.format(model=model).rstrip(),
        INTERNAL,
        LOCAL,
        ("trace", "span", ""),
        ("started", "ended"),
    )
    layout.put_constant(names.MODEL_NAME, model)
    layout.put_constant(names.MODEL_VERSION, version)
    if instance:
        layout.put_constant(names.INSTANCE, instance)
    layout.put_attribute(names.BATCH_SIZE, "size", "<u4")
    layout.put_attribute(names.BATCH_ROWS, "rows", "<u4")
    if flags & 2:
        layout.put_attribute(names.BATCH_PADDED_ROWS, "padded", "<u4")
    layout.put_message(EVENTS, event(names.COLLATED, "collated"))
    layout.put_message(EVENTS, event(names.RAN, "ran"))
    if flags & 4:
        layout.put_column("dropped", "<u4", varint(DROPPED_LINKS << 3))
    if flags & 1:
        layout.put(FAILED)
    message = Layout()
    message.put_open_message(SPANS, layout, "bytes")
    return Template(message)


def link_template() -> Template:
    """A link of a batch's span, as a field of it."""
    layout = Layout()
    layout.put_message(LINKS, link("batch_trace", "batch_span"))
    return Template(layout)


def _child(name: str, own: str, start: str, end: str) -> Layout:
    # A column has one place: what stands in several spans bears their names before its own.
    return span(
        name,
        INTERNAL,
        LOCAL,
        (f"{own}:trace", own, f"{own}:span"),
        (f"{own}:{start}", f"{own}:{end}"),
    )


def _run(*, failed: bool) -> Layout:
    layout = _child(names.BATCH, "run_span", "started", "ran")
    layout.put_message(LINKS, link("batch_trace", "batch_span"))
    if failed:
        layout.put(FAILED)
    return layout


def _request(form: Form, server: Server, *, events: bool) -> Layout:
    method = names.STREAM_INFER if form.in_stream else names.INFER
    flags = REMOTE if form.has_parent else LOCAL
    layout = span(
        method,
        SERVER,
        flags,
        ("trace", "span", "parent" if form.has_parent else ""),
        ("arrived", "ended"),
    )
    _put_attributes(layout, form, server)
    if events:
        layout.put_message(EVENTS, event(names.BATCH_STARTED, "started"))
        layout.put_message(EVENTS, event(names.BATCH_ENDED, "ran"))
    if not form.has_detail and is_error(form.status):
        layout.put(FAILED)
    return layout


def _put_attributes(layout: Layout, form: Form, server: Server) -> None:
    for key, value in request_constants(form, server).items():
        layout.put_constant(key, value)
    for key, column, number_format, present in (
        (names.CLIENT_ADDRESS, "address", f"S{form.address_bytes}", form.address_bytes),
        (names.CLIENT_PORT, "port", "<u4", form.has_port),
        (names.REQUEST_ID, "request_id", ("u1", form.id_bytes), form.id_bytes),
        (names.REQUEST_ROWS, "rows", "<u4", True),
        (names.REQUEST_BYTES, "input_bytes", "<u8", True),
        (names.DEADLINE_S, "deadline_s", "<f8", form.has_deadline),
        (names.BATCH_TRACE_ID, "batch_trace_digits", "V32", form.has_batch),
        (names.BATCH_SPAN_ID, "batch_span_digits", "V16", form.has_batch),
        (names.BATCH_SIZE, "batch_size", "<u4", form.knows_batch),
    ):
        if present:
            layout.put_attribute(key, column, number_format)


def request_constants(form: Form, server: Server) -> dict[str, str | int | bool]:
    """The attributes that all requests of a form have alike."""
    status = status_name(form.status)
    found: dict[str, str | int | bool] = {
        names.RPC_SYSTEM: "grpc",
        names.RPC_METHOD: names.STREAM_INFER if form.in_stream else names.INFER,
        names.RPC_STATUS: status,
        names.ERROR_TYPE: status if status in SERVER_FAULTS else "",
        names.SERVER_ADDRESS: server.address,
        names.SERVER_PORT: server.port if server.address else 0,
        names.MODEL_NAME: form.model,
        names.MODEL_VERSION: form.version if form.model else 0,
        names.REASON: REASONS[form.reason] if form.reason < len(REASONS) else str(form.reason),
        names.DEGRADED: form.degraded,
        names.SLOW: form.slow,
    }
    return {key: value for key, value in found.items() if value}


def is_error(status: int) -> bool:
    """Whether the convention has a SERVER span of this status be an error."""
    return status_name(status) in SERVER_FAULTS
