"""What the telemetry process shows in spans, as arrays: requests, batches, calls to others.

The joiner makes them, and both encodings of spans read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gateway.records.cells import Cells
from gateway.records.events import Detail
from gateway.records.reader import Names

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RequestRows:
    """Requests of one chunk that are exported.

    Arrays are in one order; ids are voids of 16 and 8 bytes.
    """

    cells: Cells
    traces: Array
    spans: Array
    parents: Array
    queue_spans: Array
    run_spans: Array
    batch_traces: Array
    """These and `batch_spans` mean nothing where the cell names no batch."""
    batch_spans: Array
    batches: Array
    """What is known of the batch: `started`, `ran`, `requests`, `failed`; else zeros."""
    details: Mapping[int, Detail]
    """Details by the index of the row."""
    names: Names
    offset_ns: int
    """What is added to monotonic time to get the time of day."""

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class BatchRows:
    """Batches that are exported, with their links.

    The links of the first batch come first, then those of the second, and so on.
    """

    cells: Cells
    traces: Array
    spans: Array
    linked_traces: Array
    linked_spans: Array
    links: Array
    """How many links each batch has."""
    dropped: Array
    """How many requests of each batch found no room among its links."""
    names: Names
    offset_ns: int

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class CallRows:
    """Calls to other servers, on behalf of a request or a batch that is exported."""

    cells: Cells
    traces: Array
    spans: Array
    parents: Array
    names: Names
    offset_ns: int

    def __len__(self) -> int:
        return len(self.cells)


class Rows(NamedTuple):
    """What is exported at once."""

    requests: RequestRows | None = None
    batches: Sequence[BatchRows] = ()
    calls: CallRows | None = None

    def __bool__(self) -> bool:
        return self.requests is not None or bool(self.batches) or self.calls is not None
