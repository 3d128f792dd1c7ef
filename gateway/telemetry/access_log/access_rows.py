"""Requests of a chunk as columns of numbers, for the access log of the telemetry process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.records.cells import Cells
from gateway.records.events import Detail
from gateway.records.reader import Chunk, Names
from gateway.records.span_ids import Bytes, SpanIds
from gateway.telemetry.chunk_rows import details_by_row, request_ids

Array = np.ndarray[Any, Any]

NONE: Final = -1
"""Stands in columns of times and counts for what is not known, or where there is none."""
_CHUNKS_KEPT: Final = 8
"""For how many chunks a batch is remembered, for requests that end after it."""
_BATCH: Final = np.dtype(
    [(name, "<i8") for name in ("number", "started", "collated", "ran", "size")]
)
_LONGEST_US: Final = 1 << 53  # what is no time becomes this at most


@dataclass(frozen=True)
class AccessRows:
    """Requests in the order they ended. Times are microseconds."""

    cells: Cells
    ended: Array
    """Since the Unix epoch."""
    traces: Bytes
    spans: Bytes
    total: Array
    queue: Array
    compute: Array
    batch_size: Array
    deadline: Array
    details: Mapping[int, Detail]
    """Details by the index of the row."""
    names: Names
    slot: int
    pid: int

    def __len__(self) -> int:
        return len(self.cells)


class SlotBatches:
    """The recent batches of one slot."""

    def __init__(self) -> None:
        self._identifiers: SpanIds | None = None
        self._recent: list[Array] = []
        self._sorted: Array = np.zeros(0, _BATCH)

    def consume(self, chunk: Chunk) -> None:
        """Remembers the batches of this chunk.

        Those of a process that is gone are forgotten: their numbers mean others now.
        """
        if self._identifiers is not chunk.identifiers:
            self._identifiers = chunk.identifiers
            self._recent = []
        cells = chunk.batches
        seen = np.zeros(len(cells), _BATCH)
        for name, of_cell in (
            ("number", "number"),
            ("started", "started_ns"),
            ("collated", "collated_ns"),
            ("ran", "run_ns"),
        ):
            seen[name] = cells[of_cell]
        seen["size"] = np.where(cells["rows"] > 0, cells["rows"], cells["requests"])
        self._recent = [*self._recent[1 - _CHUNKS_KEPT :], seen]
        known = np.concatenate(self._recent)
        self._sorted = known[np.argsort(known["number"], kind="stable")]

    def found(self, numbers: Array) -> tuple[Array, Array]:
        """The batches of these numbers, and which of them are known."""
        if not len(self._sorted):
            return np.zeros(len(numbers), _BATCH), np.zeros(len(numbers), bool)
        batches = self._sorted[
            np.minimum(np.searchsorted(self._sorted["number"], numbers), len(self._sorted) - 1)
        ]
        return batches, (batches["number"] == numbers) & (numbers > 0)


def access_rows(chunk: Chunk, which: Array, batches: SlotBatches, offset_ns: int) -> AccessRows:
    """The requests at these indices of the chunk.

    `offset_ns`: from monotonic time to the time of day.
    """
    cells = chunk.requests[which]
    places = chunk.request_places[which]
    traces, spans = request_ids(chunk, cells, places)
    ran_in, known = batches.found(cells["batch"])
    arrived = cells["arrived_ns"]
    given = cells["deadline_s"].astype(np.float64) * 1e6
    return AccessRows(
        cells=cells,
        ended=(cells["ended_ns"] + offset_ns) // 1000,
        traces=traces,
        spans=spans,
        total=_micros(cells["ended_ns"] - arrived),
        queue=np.where(known, _micros(ran_in["started"] - arrived), NONE),
        compute=np.where(known, _micros(ran_in["ran"] - ran_in["collated"]), NONE),
        batch_size=np.where(known, ran_in["size"], NONE),
        deadline=np.where(
            np.isfinite(given), np.clip(np.nan_to_num(given), 0, _LONGEST_US), NONE
        ).astype(np.int64),
        details=details_by_row(chunk.details, places),
        names=chunk.names,
        slot=chunk.slot,
        pid=chunk.pid,
    )


def _micros(nanos: Array) -> Array:
    return np.maximum(nanos, 0) // 1000
