"""What two consumers of the telemetry process need of a chunk: its requests' ids and details.

They are the makers of spans and of the access log, which work on rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gateway.records.cells import HAS_IDS, HAS_PARENT, Cells
from gateway.records.events import Detail
from gateway.records.reader import Chunk
from gateway.records.span_ids import Bytes

Array = np.ndarray[Any, Any]


def request_ids(chunk: Chunk, cells: Cells, places: Array) -> tuple[Bytes, Bytes]:
    """The trace and the span of each request: those in its cell, else those drawn from its place.

    `places`: where in the ring the cells stand.
    """
    traces = chunk.identifiers.request_traces(places)
    spans = chunk.identifiers.request_spans(places)
    has = cells["flags"] & (HAS_PARENT | HAS_IDS) != 0
    if has.any():
        traces[has] = cells["trace_id"][has]
        has = cells["flags"] & HAS_IDS != 0
        spans[has] = cells["span_id"][has]
    return traces, spans


def details_by_row(details: Mapping[int, Detail], places: Array) -> Mapping[int, Detail]:
    """The details of requests at these places, by index instead of by place."""
    if not details or not len(places):
        return {}
    wanted = np.fromiter(details, np.uint64, len(details))
    at = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    return {
        row: detail
        for row, hit, detail in zip(
            at.tolist(), (places[at] == wanted).tolist(), details.values(), strict=True
        )
        if hit
    }
