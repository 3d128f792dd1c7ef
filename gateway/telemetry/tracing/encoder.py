"""Spans as OTLP's bytes, thousands at a time, at a tenth of what one at a time costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from gateway.records.events import Detail
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.otlp_template import (
    LENGTH_BYTES,
    Template,
    attribute,
    field,
    fixed64_field,
    lengths,
    number_field,
    varint,
)
from gateway.telemetry.tracing.span_batches import Array, BatchRows, CallRows, Rows
from gateway.telemetry.tracing.span_columns import (
    batch_columns,
    call_columns,
    fill,
    form_of,
    in_groups,
    request_columns,
)
from gateway.telemetry.tracing.span_templates import (
    EVENTS,
    SPANS,
    STATUS,
    STATUS_CODE,
    STATUS_ERROR,
    STATUS_MESSAGE,
    TRACESTATE,
    Form,
    Server,
    batch_template,
    call_template,
    is_error,
    link_template,
    request_template,
)

MOST_BYTES: Final = 1 << 20
"""Of one export, about: a collector's default limit is 4 MiB."""
_MOST_TEXT: Final = 4096
_ATTRIBUTES: Final = 9
_KEPT_TEMPLATES: Final = 4096
Piece = tuple[bytes, int]
"""Encoded spans, and how many they are."""


@dataclass(frozen=True)
class Encoded:
    """An ExportTraceServiceRequest.

    Its length is the number of its spans, as it is of the lists that exporters get.
    """

    data: bytes
    spans: int

    def __len__(self) -> int:
        return self.spans


class SpanEncoder:
    """Encodes rows. `resource`, `scope`: messages as protobuf has them."""

    def __init__(
        self, resource: bytes, scope: bytes, server: Server, *, all_children: bool = True
    ) -> None:
        self._resource = field(1, resource)
        self._scope = field(1, scope)
        self._schema = field(3, names.SCHEMA_URL.encode())
        self._server = server
        self._all_children = all_children
        self._templates: dict[Form, Template] = {}
        self._batch_templates: dict[tuple[str, int, str, int], Template] = {}
        self._link = link_template()

    def encode(self, rows: Rows) -> Iterator[Encoded]:
        """Requests to export, of about a MiB each."""
        parts: list[bytes] = []
        size = 0
        spans = 0
        for piece, count in self._pieces(rows):
            if parts and size + len(piece) > MOST_BYTES:
                yield self._packed(parts, size, spans)
                parts = []
                size = 0
                spans = 0
            parts.append(piece)
            size = size + len(piece)
            spans = spans + count
        if parts:
            yield self._packed(parts, size, spans)

    def _packed(self, parts: list[bytes], size: int, spans: int) -> Encoded:
        of_scope = len(self._scope) + size + len(self._schema)
        head = varint(SPANS << 3 | 2) + varint(of_scope)
        outer = varint(1 << 3 | 2) + varint(len(self._resource) + len(head) + of_scope)
        return Encoded(
            b"".join((outer, self._resource, head, self._scope, *parts, self._schema)), spans
        )

    def _pieces(self, told: Rows) -> Iterator[Piece]:
        requests = told.requests
        if requests is not None:
            columns, key = request_columns(requests)
            for rows, part in in_groups(columns, key):
                form = form_of(int(key[rows[0]]), requests.names.versions)
                template = self._template(form)
                out = fill(template, part, len(rows))
                spans = 1 + 2 * ("run_bytes" in template.names)
                if form.has_detail:
                    yield from _with_details(
                        template,
                        out,
                        [requests.details[row] for row in rows.tolist()],
                        form,
                        spans,
                        requests.offset_ns,
                    )
                else:
                    yield from _plain(template, out, spans)
        for batches in told.batches:
            yield from self._batches(batches)
        if told.calls is not None:
            yield from _calls(told.calls)

    def _template(self, form: Form) -> Template:
        found = self._templates.get(form)
        if found is None:
            if len(self._templates) >= _KEPT_TEMPLATES:
                self._templates.clear()
            found = request_template(form, self._server, all_children=self._all_children)
            self._templates[form] = found
        return found

    def _batches(self, batches: BatchRows) -> Iterator[Piece]:
        links = self._link.rows(len(batches.linked_spans))
        links["batch_trace"] = batches.linked_traces
        links["batch_span"] = batches.linked_spans
        data = memoryview(links.tobytes())
        each = self._link.row_bytes
        ends = np.cumsum(batches.links)
        columns, key = batch_columns(batches)
        for rows, part in in_groups(columns, key):
            template = self._batch_template(batches, int(rows[0]), int(key[rows[0]]) >> 32 & 7)
            out = fill(template, part, len(rows))
            first = (ends - batches.links)[rows] * each
            last = ends[rows] * each
            head = template.offset("bytes") + LENGTH_BYTES
            out["bytes"] = lengths(template.row_bytes - head + last - first)
            whole = memoryview(out.tobytes())
            size = template.row_bytes
            for at, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
                yield b"".join((whole[at * size : (at + 1) * size], data[begin:end])), 1

    def _batch_template(self, batches: BatchRows, row: int, flags: int) -> Template:
        cell = batches.cells[row]
        model, version = batches.names.versions.get(int(cell["version"]), ("", 0))
        key = model, version, batches.names.instances.get(int(cell["instance"]), ""), flags
        found = self._batch_templates.get(key)
        if found is None:
            if len(self._batch_templates) >= _KEPT_TEMPLATES:
                self._batch_templates.clear()
            found = batch_template(*key)
            self._batch_templates[key] = found
        return found


def _calls(calls: CallRows) -> Iterator[Piece]:
    columns, key = call_columns(calls)
    for rows, part in in_groups(columns, key):
        cell = calls.cells[int(rows[0])]
        model, version = calls.names.versions.get(int(cell["version"]), ("", 0))
        template = call_template(
            model,
            version,
            calls.names.instances.get(int(cell["instance"]), ""),
            failed=bool(cell["failed"]),
        )
        yield from _plain(template, fill(template, part, len(rows)), 1)


def _plain(template: Template, out: Array, spans: int) -> Iterator[Piece]:
    step = max(1, MOST_BYTES // template.row_bytes)
    for start in range(0, len(out), step):
        some = out[start : start + step]
        yield some.tobytes(), spans * len(some)


def _with_details(
    template: Template, out: Array, details: list[Detail], form: Form, spans: int, offset_ns: int
) -> Iterator[Piece]:
    """Each row with what its detail adds behind it.

    The caller's trace state behind each of its spans.
    """
    tails = [
        tail(detail._replace(moments=()), names_model=not form.model, failed=is_error(form.status))
        for detail in details
    ]
    if any(detail.moments for detail in details):
        tails = [
            moment_events(detail, offset_ns) + text
            for detail, text in zip(details, tails, strict=True)
        ]
    states = [_tracestate(detail) for detail in details]
    state_bytes = np.array([len(state) for state in states])
    tail_bytes = np.array([len(text) for text in tails])
    ends = _ends(template)
    for name, end in ends:
        added = state_bytes + tail_bytes if name == "request_bytes" else state_bytes
        out[name] = lengths(end - template.offset(name) - LENGTH_BYTES + added)
    whole = memoryview(out.tobytes())
    size = template.row_bytes
    cuts = [0, *(end for _, end in ends)]
    for row, (text, state) in enumerate(zip(tails, states, strict=True)):
        at = row * size
        if state:
            parts = [part for a, b in pairwise(cuts) for part in (whole[at + a : at + b], state)]
            yield b"".join((*parts, text)), spans
        else:
            yield b"".join((whole[at : at + size], text)), spans


def _ends(template: Template) -> list[tuple[str, int]]:
    """The spans of a row, by the columns of their lengths, and where in it they end.

    Where the tag of the next begins.
    """
    found = [
        name for name in ("queue_bytes", "run_bytes", "request_bytes") if name in template.names
    ]
    return list(
        zip(
            found,
            [*(template.offset(name) - 1 for name in found[1:]), template.row_bytes],
            strict=True,
        )
    )


def moment_events(detail: Detail, offset_ns: int) -> bytes:
    """What was decided about a request, as events of its span."""
    events = []
    for at_ns, what, text in detail.moments:
        told = _moment(what, text)
        events.append(field(EVENTS, fixed64_field(1, at_ns + offset_ns) + told))
    return b"".join(events)


@lru_cache(1024)
def _moment(what: str, text: str) -> bytes:
    """The event behind its time."""
    return field(2, names.MOMENT_OF.format(what=what).encode()) + (
        field(3, attribute(names.MOMENT_TEXT, text[:_MOST_TEXT])) if text else b""
    )


@lru_cache(1024)
def tail(detail: Detail, *, names_model: bool, failed: bool) -> bytes:
    """What a detail adds to the request's span: attributes and the status."""
    out = b"".join(
        field(_ATTRIBUTES, attribute(key, value))
        for key, value in detail_attributes(detail, names_model=names_model).items()
    )
    if failed:
        message = detail.error[:_MOST_TEXT].encode("utf-8", "replace")
        out += field(
            STATUS,
            (field(STATUS_MESSAGE, message) if message else b"")
            + number_field(STATUS_CODE, STATUS_ERROR),
        )
    return out


def detail_attributes(detail: Detail, *, names_model: bool) -> dict[str, str | int]:
    """The attributes that a detail adds.

    `names_model`: no version was found, so the model's name is what the caller wrote.
    """
    found: dict[str, str | int] = {
        names.ERROR: detail.error,
        names.SERVED_BY: detail.served_by,
        names.FALLBACK_REASON: detail.fallback_reason,
        names.RETRIES: detail.retries,
        names.REQUEST_ID: detail.request_id,
        names.MODEL_NAME: detail.model if names_model else "",
    }
    return {
        key: value[:_MOST_TEXT] if isinstance(value, str) else value
        for key, value in found.items()
        if value
    }


def _tracestate(detail: Detail) -> bytes:
    return (
        field(TRACESTATE, detail.tracestate[:_MOST_TEXT].encode("utf-8", "replace"))
        if detail.tracestate
        else b""
    )
