"""Joins the cells that the telemetry process reads to what spans show.

That is the requests to export, their ids, and which request was in which batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.records.cells import KEPT, SAMPLED
from gateway.records.reader import Chunk
from gateway.records.span_ids import Bytes
from gateway.telemetry.chunk_rows import details_by_row, request_ids
from gateway.telemetry.tracing.span_batches import Array, BatchRows, CallRows, RequestRows, Rows

_LOOKS_KEPT: Final = 8
"""For how many chunks a batch is remembered, for requests that end after it."""
_IDS: Final = np.dtype(
    {
        "names": ["trace", "span", "parent"],
        "formats": ["V16", "V8", "V8"],
        "offsets": [56, 72, 80],
        "itemsize": 128,
    }
)
_NO_BATCHES: Final = np.zeros(
    0,
    np.dtype(
        [
            ("number", "<i8"),
            ("started", "<i8"),
            ("ran", "<i8"),
            ("requests", "<i4"),
            ("failed", "u1"),
        ]
    ),
)


@dataclass(frozen=True)
class _Members:
    """The requests of batches, by the numbers of the batches."""

    numbers: Array
    traces: Array
    spans: Array

    linked: bool = False
    """Whether some came from links, so that they may be there twice."""

    def and_those(self, others: _Members) -> _Members:
        return _Members(
            np.concatenate((self.numbers, others.numbers)),
            np.concatenate((self.traces, others.traces)),
            np.concatenate((self.spans, others.spans)),
            linked=self.linked or others.linked,
        )

    def of(self, numbers: Array) -> tuple[Array, Array, Array]:
        """Indices in the order of batches, and the first and the end of each of these batches."""
        order = self.order()
        known = self.numbers[order]
        return (
            order,
            np.searchsorted(known, numbers, "left"),
            np.searchsorted(known, numbers, "right"),
        )

    def order(self) -> Array:
        """Indices by batch, each request once.

        A request that failed with its batch stands both in a link and in its own cell.
        """
        if not self.linked:
            return np.argsort(self.numbers, kind="stable")
        spans = np.ascontiguousarray(self.spans).view("<u8")
        order = np.lexsort((spans, self.numbers))
        numbers = self.numbers[order]
        spans = spans[order]
        again = (numbers[1:] == numbers[:-1]) & (spans[1:] == spans[:-1])
        return np.asarray(order[np.append(True, ~again)])


_NOBODY: Final = _Members(np.zeros(0, np.int64), np.zeros(0, "V16"), np.zeros(0, "V8"))


class SlotRows:
    """Joins the chunks of one slot.

    A batch comes out one chunk later than it came in: then all its requests are known.
    """

    def __init__(self, link_limit: int) -> None:
        self._link_limit = link_limit
        self._waiting: Chunk | None = None
        self._offset_ns = 0
        self._members = _NOBODY
        self._known: list[Array] = []

    def consume(self, chunk: Chunk, offset_ns: int) -> Rows:
        """The requests and calls of this chunk, the batches of the one before."""
        batches: list[BatchRows] = []
        # another process: its numbers mean other things
        if self._waiting is not None and self._waiting.identifiers is not chunk.identifiers:
            batches += self.rest().batches
            self._known = []
        requests = self._requests(chunk, offset_ns)
        members = _members(chunk, requests)
        if self._waiting is not None:
            batches += self._batches(self._waiting, self._members.and_those(members))
        self._waiting = chunk
        self._members = members
        self._offset_ns = offset_ns
        return Rows(requests, batches, _calls(chunk, offset_ns))

    def rest(self) -> Rows:
        """The batches that still wait, as far as their requests are known."""
        waiting = self._waiting
        self._waiting = None
        return Rows() if waiting is None else Rows(batches=self._batches(waiting, self._members))

    def _requests(self, chunk: Chunk, offset_ns: int) -> RequestRows | None:
        known = self._remember(chunk)
        chosen = np.flatnonzero(chunk.requests["flags"] & (SAMPLED | KEPT))
        if not len(chosen):
            return None
        cells = chunk.requests[chosen]
        places = chunk.request_places[chosen]
        numbers = cells["batch"].astype(np.uint64)
        traces, spans = (_voids(ids) for ids in request_ids(chunk, cells, places))
        return RequestRows(
            cells=cells,
            traces=traces,
            spans=spans,
            parents=cells.view(_IDS)["parent"],
            queue_spans=_voids(chunk.identifiers.request_spans(places, 1)),
            run_spans=_voids(chunk.identifiers.request_spans(places, 2)),
            batch_traces=_voids(chunk.identifiers.batch_traces(numbers)),
            batch_spans=_voids(chunk.identifiers.batch_spans(numbers)),
            batches=_found(known, cells["batch"]),
            details=details_by_row(chunk.details, places),
            names=chunk.names,
            offset_ns=offset_ns,
        )

    def _remember(self, chunk: Chunk) -> Array:
        """What is known of recent batches, by number; there is always one, of number -1."""
        seen = np.zeros(len(chunk.batches) + 1, _NO_BATCHES.dtype)
        seen[-1]["number"] = -1
        for name, of_cell in (
            ("number", "number"),
            ("started", "started_ns"),
            ("ran", "run_ns"),
            ("requests", "requests"),
            ("failed", "failed"),
        ):
            seen[name][:-1] = chunk.batches[of_cell]
        self._known = [*self._known[1 - _LOOKS_KEPT :], seen]
        known = np.concatenate(self._known)
        return known[np.argsort(known["number"], kind="stable")]

    def _batches(self, chunk: Chunk, members: _Members) -> list[BatchRows]:
        if not len(chunk.batches):
            return []
        cells = chunk.batches[np.argsort(chunk.batches["number"], kind="stable")]
        order, first, last = members.of(cells["number"])
        chosen = (last > first) | (cells["kept"] != 0)
        if not chosen.any():
            return []
        first = first[chosen]
        found = last[chosen] - first
        links = np.minimum(found, self._link_limit)
        linked = order[_ranges(first, links)]
        numbers = cells["number"][chosen].astype(np.uint64)
        rows = BatchRows(
            cells=cells[chosen],
            traces=_voids(chunk.identifiers.batch_traces(numbers)),
            spans=_voids(chunk.identifiers.batch_spans(numbers)),
            linked_traces=members.traces[linked],
            linked_spans=members.spans[linked],
            links=links,
            dropped=found - links,
            names=chunk.names,
            offset_ns=self._offset_ns,
        )
        return [rows]


def _members(chunk: Chunk, requests: RequestRows | None) -> _Members:
    members = _NOBODY
    if requests is not None:
        ran = requests.cells["batch"] > 0
        members = _Members(requests.cells["batch"][ran], requests.traces[ran], requests.spans[ran])
    if len(chunk.links):
        ids = chunk.links.view(_IDS)
        members = members.and_those(
            _Members(chunk.links["number"], ids["trace"], ids["span"], linked=True)
        )
    return members


def _calls(chunk: Chunk, offset_ns: int) -> CallRows | None:
    if not len(chunk.calls):
        return None
    ids = chunk.calls.view(_IDS)
    return CallRows(chunk.calls, ids["trace"], ids["span"], ids["parent"], chunk.names, offset_ns)


def _found(known: Array, numbers: Array) -> Array:
    at = np.minimum(np.searchsorted(known["number"], numbers), len(known) - 1)
    found = known[at]
    found[(found["number"] != numbers) | (numbers <= 0)] = np.zeros((), known.dtype)
    return found


def _ranges(first: Array, counts: Array) -> Array:
    """first[0], first[0] + 1, ... as many as counts[0], then first[1], ..."""
    ends = np.cumsum(counts)
    return np.asarray(np.arange(ends[-1]) + np.repeat(first - ends + counts, counts))


def _voids(ids: Bytes) -> Array:
    return ids.view(f"V{ids.shape[1]}")[:, 0]
