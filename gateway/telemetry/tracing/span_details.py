"""What the rare request adds to its span: an error, a fallback, events, the caller's trace state.

The telemetry process joins rows that have such a detail one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
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
)
from gateway.telemetry.tracing.span_batches import Array
from gateway.telemetry.tracing.span_layouts import (
    EVENTS,
    STATUS,
    STATUS_CODE,
    STATUS_ERROR,
    STATUS_MESSAGE,
    TRACESTATE,
)
from gateway.telemetry.tracing.span_templates import Form, is_error

_MOST_TEXT: Final = 4096
_ATTRIBUTES: Final = 9
Piece = tuple[bytes, int]
"""Encoded spans, and how many they are."""


def with_details(
    template: Template, out: Array, details: list[Detail], form: Form, spans: int, offset_ns: int
) -> Iterator[Piece]:
    """Each row with what its detail adds behind it, and how many spans it has.

    The caller's trace state is put behind each span of the row.
    """
    tails = [
        tail(detail._replace(events=()), names_model=not form.model, failed=is_error(form.status))
        for detail in details
    ]
    if any(detail.events for detail in details):
        tails = [
            request_events(detail, offset_ns) + text
            for detail, text in zip(details, tails, strict=True)
        ]
    states = [_tracestate(detail) for detail in details]
    ends = _ends(template)
    _add_lengths(template, out, ends, tails, states)
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


def _add_lengths(
    template: Template,
    out: Array,
    ends: list[tuple[str, int]],
    tails: list[bytes],
    states: list[bytes],
) -> None:
    """Writes the lengths that the spans of each row have with what is put behind them."""
    state_bytes = np.array([len(state) for state in states])
    tail_bytes = np.array([len(text) for text in tails])
    for name, end in ends:
        added = state_bytes + tail_bytes if name == "request_bytes" else state_bytes
        out[name] = lengths(end - template.offset(name) - LENGTH_BYTES + added)


def _ends(template: Template) -> list[tuple[str, int]]:
    """The spans of a row: the column of each span's length, and where in the row it ends.

    A span ends where the tag of the next begins.
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


def request_events(detail: Detail, offset_ns: int) -> bytes:
    """The events of a request, as fields of its span."""
    events = []
    for at_ns, what, text in detail.events:
        event = _event(what, text)
        events.append(field(EVENTS, fixed64_field(1, at_ns + offset_ns) + event))
    return b"".join(events)


@lru_cache(1024)
def _event(what: str, text: str) -> bytes:
    """An event but for its time, which stands before the rest."""
    return field(2, names.EVENT_NAME.format(what=what).encode()) + (
        field(3, attribute(names.EVENT_TEXT, text[:_MOST_TEXT])) if text else b""
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
