"""Packs the REQUEST cells that a serving process writes, each with its detail in front of it.

How they are laid out stands in `gateway.records.cells`.
"""

from __future__ import annotations

from typing import Final

from gateway.core.request import InferenceRequest
from gateway.core.span_context import SpanContext
from gateway.records.cells import (
    HAS_IDS,
    HAS_PARENT,
    REQUEST,
    REQUEST_ID_AT,
    REQUEST_ID_BYTES,
    REQUEST_IDS,
    REQUEST_PLAIN,
)
from gateway.records.events import Detail, encode
from gateway.records.request_details import NOTHING
from gateway.records.ring import RingWriter

_NO_ID: Final = bytes(8)
_TWO_BYTES_FROM: Final = 0x80  # where a protobuf length takes a second byte
Fields = tuple[int, int, int, int, int, float, int, int, int]
"""The fields of a REQUEST cell from `version` to `reason`, in their order there."""


class RequestCells:
    """Writes the REQUEST cells of one ring; its owner publishes them."""

    __slots__ = ("_ring",)

    def __init__(self, ring: RingWriter) -> None:
        self._ring = ring

    def write(
        self,
        own: SpanContext | None,
        parent: SpanContext | None,
        status: int,
        flags: int,
        fields: Fields,
        request_id: bytes,
        detail: Detail,
    ) -> None:
        """Writes the detail, where there is one, and the cell: both or, without room, neither.

        The detail belongs to the very next cell, so nothing may be written between them.
        """
        if detail is not NOTHING and not self._ring.write_event(encode(detail), behind=1):
            return
        at = self._ring.offset()
        if at < 0:
            return
        cells = self._ring.cells
        request_id = request_id[:REQUEST_ID_BYTES]
        REQUEST_PLAIN.pack_into(cells, at, REQUEST, status, flags, len(request_id), *fields)
        if flags & (HAS_IDS | HAS_PARENT):
            _pack_ids(cells, at + REQUEST_PLAIN.size, own, parent)
        if request_id:
            cells[at + REQUEST_ID_AT : at + REQUEST_ID_AT + len(request_id)] = request_id

    def __repr__(self) -> str:
        return f"<RequestCells {self._ring!r}>"


def request_fields(
    row: int,
    request: InferenceRequest | None,
    arrived: float,
    ended: float,
    peer: int,
    reason: int,
) -> Fields:
    """What a request's cell tells of it besides its status and ids.

    Times are seconds of the monotonic clock. `request` is None where it failed before it was read.
    """
    arrived_ns = int(arrived * 1e9)
    ended_ns = int(ended * 1e9)
    if request is None:
        return row, arrived_ns, ended_ns, 0, 0, float("inf"), 0, peer, reason
    run = request.run
    batch = run.number if run is not None else 0
    form = request.form
    deadline_s = request.deadline - arrived
    return row, arrived_ns, ended_ns, batch, form.rows, deadline_s, form.input_bytes, peer, reason


def id_text(field: bytes) -> bytes:
    """The text of a response's id field; empty where there is none.

    Before the text stand a tag and a length, which takes one byte, or two from 128 on.
    """
    if not field:
        return b""
    return field[2:] if field[1] < _TWO_BYTES_FROM else field[3:]


def _pack_ids(
    cells: memoryview, at: int, own: SpanContext | None, parent: SpanContext | None
) -> None:
    """Packs the trace's id, the request's span and its parent's; zeros for what there is not."""
    trace_id = b""
    span_id = _NO_ID
    if own is not None:
        trace_id = own.trace_id
        span_id = own.span_id
    elif parent is not None:
        trace_id = parent.trace_id
    parent_id = parent.span_id if parent is not None else _NO_ID
    REQUEST_IDS.pack_into(cells, at, trace_id, span_id, parent_id)
