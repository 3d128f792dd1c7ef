"""The same spans as OpenTelemetry's own objects, for exporters that take no bytes.

They cost the telemetry process twenty times as much as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from gateway.records.events import Detail
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.peers import Peer, read_peer
from gateway.telemetry.tracing.span_batches import BatchRows, CallRows, RequestRows, Rows
from gateway.telemetry.tracing.span_columns import form_of, request_columns
from gateway.telemetry.tracing.span_details import detail_attributes
from gateway.telemetry.tracing.span_templates import (
    Form,
    Server,
    call_constants,
    has_children,
    is_error,
    request_constants,
)

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NONE: Final = Detail()


class SpanMaker:
    """Makes spans of rows."""

    def __init__(
        self,
        resource: Resource,
        scope: InstrumentationScope,
        server: Server,
        *,
        all_children: bool = True,
    ) -> None:
        self._resource = resource
        self._scope = scope
        self._server = server
        self._all_children = all_children

    def make(self, joined: Rows) -> Iterator[ReadableSpan]:
        """The spans of the rows, in no order."""
        requests = joined.requests
        if requests is not None:
            columns, keys = request_columns(requests)
            for row, key in enumerate(keys.tolist()):
                values = {name: column[row] for name, column in columns.items()}
                yield from self._request(
                    requests, row, form_of(key, requests.names.versions), values
                )
        for batches in joined.batches:
            yield from self._batches(batches)
        if joined.calls is not None:
            yield from self._calls(joined.calls)

    def _request(
        self, rows: RequestRows, row: int, form: Form, values: dict[str, Any]
    ) -> Iterator[ReadableSpan]:
        detail = rows.details.get(row, _NONE)
        state = TraceState.from_header([detail.tracestate]) if detail.tracestate else None
        own = _context(values["trace"], values["span"], state=state)
        parent = _context(values["trace"], values["parent"], remote=True, state=state)
        children = has_children(form, all_children=self._all_children)
        if children:
            yield from self._children(form, values, own, state)
        attributes = self._attributes(rows, row, form, values)
        attributes |= detail_attributes(detail, names_model=not form.model)
        status = Status()
        if is_error(form.status):
            status = Status(StatusCode.ERROR, detail.error[:4096] or None)
        yield self._span(
            names.STREAM_INFER if form.in_stream else names.INFER,
            own,
            parent if form.has_parent else None,
            (values["arrived"], values["ended"]),
            attributes=attributes,
            events=_events(values, detail, rows.offset_ns, batch=form.knows_batch and not children),
            status=status,
            kind=SpanKind.SERVER,
        )

    def _children(
        self, form: Form, values: dict[str, Any], own: SpanContext, state: TraceState | None
    ) -> Iterator[ReadableSpan]:
        """The spans below a request's own: in the queue, and in its batch."""
        queue = _context(values["trace"], values["queue_span"], state=state)
        run = _context(values["trace"], values["run_span"], state=state)
        yield self._span(names.QUEUE, queue, own, (values["arrived"], values["started"]))
        yield self._span(
            names.BATCH,
            run,
            own,
            (values["started"], values["ran"]),
            links=[Link(_context(values["batch_trace"], values["batch_span"]))],
            status=Status(StatusCode.ERROR) if form.batch_failed else Status(),
        )

    def _attributes(
        self, rows: RequestRows, row: int, form: Form, values: dict[str, Any]
    ) -> dict[str, Any]:
        cell = rows.cells[row]
        found = request_constants(form, self._server) | {
            names.REQUEST_ROWS: max(int(cell["rows"]), 0),
            names.REQUEST_BYTES: max(int(cell["input_bytes"]), 0),
        }
        number = int(cell["peer"])
        peer = read_peer(rows.names.peers[number]) if number in rows.names.peers else Peer()
        optional: dict[str, Any] = {
            names.CLIENT_ADDRESS: peer.address or None,
            names.CLIENT_PORT: peer.port or None,
            names.REQUEST_ID: values["request_id"][: form.id_bytes].tobytes().decode() or None,
            names.DEADLINE_S: float(cell["deadline_s"]) if form.has_deadline else None,
            names.BATCH_TRACE_ID: values["batch_trace"].tobytes().hex() if form.has_batch else None,
            names.BATCH_SPAN_ID: values["batch_span"].tobytes().hex() if form.has_batch else None,
            names.BATCH_SIZE: int(rows.batches["requests"][row]) if form.knows_batch else None,
        }
        return found | {key: value for key, value in optional.items() if value is not None}

    def _batches(self, rows: BatchRows) -> Iterator[ReadableSpan]:
        begin = 0
        for row, cell in enumerate(rows.cells):
            end = begin + int(rows.links[row])
            linked = zip(rows.linked_traces[begin:end], rows.linked_spans[begin:end], strict=True)
            links: BoundedList[Link] = BoundedList(None)
            links.extend([Link(_context(trace, span)) for trace, span in linked])
            links.dropped = int(rows.dropped[row])
            begin = end
            started, collated, ran, ended = (
                max(int(cell[name]), int(cell["started_ns"])) + rows.offset_ns
                for name in ("started_ns", "collated_ns", "run_ns", "ended_ns")
            )
            attributes = _batch_attributes(rows, cell)
            yield self._span(
                names.BATCH_OF.format(model=attributes[names.MODEL_NAME]).rstrip(),
                _context(rows.traces[row], rows.spans[row]),
                None,
                (started, ended),
                attributes=attributes,
                events=[_event(names.COLLATED, collated), _event(names.RAN, ran)],
                links=links,
                status=Status(StatusCode.ERROR) if cell["failed"] else Status(),
            )

    def _calls(self, rows: CallRows) -> Iterator[ReadableSpan]:
        for row, cell in enumerate(rows.cells):
            model, version = rows.names.versions.get(int(cell["version"]), ("", 0))
            started = int(cell["started_ns"])
            failed = bool(cell["failed"])
            yield self._span(
                names.CALL,
                _context(rows.traces[row], rows.spans[row]),
                _context(rows.traces[row], rows.parents[row]),
                (started + rows.offset_ns, max(int(cell["ended_ns"]), started) + rows.offset_ns),
                attributes=call_constants(
                    model,
                    version,
                    rows.names.instances.get(int(cell["instance"]), ""),
                    failed=failed,
                ),
                status=Status(StatusCode.ERROR) if failed else Status(),
                kind=SpanKind.CLIENT,
            )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        **more: Any,
    ) -> ReadableSpan:
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            instrumentation_scope=self._scope,
            start_time=int(times[0]),
            end_time=int(times[1]),
            **more,
        )


def _batch_attributes(rows: BatchRows, cell: Any) -> dict[str, str | int]:
    model, version = rows.names.versions.get(int(cell["version"]), ("", 0))
    found: dict[str, str | int] = {
        names.MODEL_NAME: model,
        names.MODEL_VERSION: version,
        names.BATCH_SIZE: int(cell["requests"]),
        names.BATCH_ROWS: int(cell["rows"]),
    }
    if instance := rows.names.instances.get(int(cell["instance"]), ""):
        found[names.INSTANCE] = instance
    if cell["padded_rows"] > cell["rows"]:
        found[names.BATCH_PADDED_ROWS] = int(cell["padded_rows"])
    return found


def _context(
    trace: Any, span: Any, *, remote: bool = False, state: TraceState | None = None
) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace.tobytes(), "big"),
        int.from_bytes(span.tobytes(), "big"),
        remote,
        _SAMPLED,
        state,
    )


def _event(name: str, time: int) -> Event:
    return Event(name, timestamp=int(time))


def _events(values: dict[str, Any], detail: Detail, offset_ns: int, *, batch: bool) -> list[Event]:
    """A request's events; `batch`: among them what its child spans would show."""
    events = []
    if batch:
        events.append(_event(names.BATCH_STARTED, values["started"]))
        events.append(_event(names.BATCH_ENDED, values["ran"]))
    for at_ns, what, text in detail.events:
        attributes = {names.EVENT_TEXT: text} if text else None
        events.append(Event(names.EVENT_NAME.format(what=what), attributes, at_ns + offset_ns))
    return events
