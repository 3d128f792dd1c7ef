"""What a serving process writes down of its requests and batches, in cells of one size.

The layouts stand here once: as structs for the writer, as numpy dtypes for the telemetry process,
which reads thousands at a time.

A cell is 128 bytes. A REQUEST cell records one request that has ended, a BATCH cell one batch,
before the cells of its requests. A LINK cell names a request that a batch has run for but that ends
elsewhere: the batch failed and is run again, or ran a part of the request. A CALL cell records one
call to another server, on behalf of one request or of a batch. Whatever has no fixed length is an
event (`gateway.records.events`), over as many cells as it takes: an EVENT cell, then MORE cells.

Times are nanoseconds of the monotonic clock, which all processes of a machine share. Numbers of
batches, peers and instances are the writing process's own; numbers of versions are their rows in
the statistics table.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from gateway.records.ring_file import CELL_BYTES

REQUEST, BATCH, LINK, EVENT, MORE, CALL = range(1, 7)

# Flags of a REQUEST.
HAS_PARENT: Final = 1
"""The caller sent a trace context: `trace_id` is its trace, `parent_id` its span."""
SAMPLED: Final = 2
"""It is to be exported whatever became of it: by the caller's decision, or by the draw."""
HAS_IDS: Final = 4
"""It was given `trace_id` and `span_id` when they were needed; else its reader makes them."""
DEGRADED: Final = 8
"""A fallback answered."""
SLOW: Final = 16
"""It is among the slowest percent of its version."""
IN_STREAM: Final = 32
"""It is a request of ModelStreamInfer."""
REFUSED_SAMPLING: Final = 64
"""The caller has a trace which is not sampled."""
KEPT: Final = 128
"""It was not sampled and is to be exported all the same, for what became of it."""

NO_ROW: Final = -1
"""What `version` is where no version was found for the request."""
REQUEST_ID_BYTES: Final = 40
"""The most bytes of a request's id; a longer one is cut here and whole in a detail."""

REQUEST_CELL: Final = np.dtype(
    {
        "names": [
            "kind",
            "status",
            "flags",
            "id_bytes",
            "version",
            "arrived_ns",
            "ended_ns",
            "batch",
            "rows",
            "deadline_s",
            "input_bytes",
            "peer",
            "reason",
            "trace_id",
            "span_id",
            "parent_id",
            "request_id",
        ],
        "formats": [
            "u1",
            "u1",
            "u1",
            "u1",
            "<i4",
            "<i8",
            "<i8",
            "<i8",
            "<i4",
            "<f4",
            "<i8",
            "<i4",
            "<i4",
            ("u1", 16),
            ("u1", 8),
            ("u1", 8),
            ("u1", 40),
        ],
        "offsets": [0, 1, 2, 3, 4, 8, 16, 24, 32, 36, 40, 48, 52, 56, 72, 80, 88],
        "itemsize": CELL_BYTES,
    }
)
"""A request that has ended.

`status`: gRPC's number. `batch`: 0 where none ran it. `deadline_s`: what the caller gave, from
arrival; infinity: none. `reason`: index into `gateway.core.errors.REASONS`, 0 where it was
answered. The ids hold what the flags say, else rubbish.
"""

REQUEST_PLAIN: Final = struct.Struct("<BBBBiqqqifqii")
"""The first 56 bytes of a REQUEST, which are all of it where no flag says more.

The request's id goes to `REQUEST_ID_AT`.
"""
REQUEST_IDS: Final = struct.Struct("16s8s8s")
"""The ids of trace, span and parent, behind the first 56 bytes."""
REQUEST_ID_AT: Final = 88

BATCH_CELL: Final = np.dtype(
    {
        "names": [
            "kind",
            "failed",
            "kept",
            "version",
            "started_ns",
            "run_ns",
            "number",
            "rows",
            "requests",
            "collated_ns",
            "instance",
            "padded_rows",
            "ended_ns",
        ],
        "formats": [
            "u1",
            "u1",
            "u1",
            "<i4",
            "<i8",
            "<i8",
            "<i8",
            "<i4",
            "<i4",
            "<i8",
            "<i4",
            "<i4",
            "<i8",
        ],
        "offsets": [0, 1, 2, 4, 8, 16, 24, 32, 36, 40, 48, 52, 56],
        "itemsize": CELL_BYTES,
    }
)
"""A batch that has ended.

From `started_ns` inputs are joined, from `collated_ns` the model runs; at `run_ns` its outputs are
there, at `ended_ns` they are split. `kept`: it is to be exported whether or not one of its requests
is.
"""
BATCH_PLAIN: Final = struct.Struct("<BBBxiqqqiiqiiq")

LINK_CELL: Final = np.dtype(
    {
        "names": ["kind", "number", "trace_id", "span_id"],
        "formats": ["u1", "<i8", ("u1", 16), ("u1", 8)],
        "offsets": [0, 24, 56, 72],
        "itemsize": CELL_BYTES,
    }
)
LINK_PLAIN: Final = struct.Struct("<B23xq24x16s8s")

CALL_CELL: Final = np.dtype(
    {
        "names": [
            "kind",
            "failed",
            "version",
            "started_ns",
            "ended_ns",
            "number",
            "instance",
            "trace_id",
            "span_id",
            "parent_id",
        ],
        "formats": [
            "u1",
            "u1",
            "<i4",
            "<i8",
            "<i8",
            "<i8",
            "<i4",
            ("u1", 16),
            ("u1", 8),
            ("u1", 8),
        ],
        "offsets": [0, 1, 4, 8, 16, 24, 48, 56, 72, 80],
        "itemsize": CELL_BYTES,
    }
)
"""A call to another server, on behalf of something that is sampled.

`instance` is the address asked, `number` the batch. The span is a child of `parent_id` in
`trace_id`.
"""
CALL_PLAIN: Final = struct.Struct("<BBxxiqqq16xi4x16s8s8s")

EVENT_HEAD: Final = struct.Struct("<BxxxI")
"""The kind and, in an EVENT, how many bytes the whole event has.

They fill this cell and the MORE cells that follow, `EVENT_ROOM` bytes each.
"""
EVENT_ROOM: Final = CELL_BYTES - EVENT_HEAD.size

Cells = np.ndarray[Any, np.dtype[np.void]]
"""An array of cells, of one of the dtypes above."""
