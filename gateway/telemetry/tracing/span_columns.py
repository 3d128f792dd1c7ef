"""What differs from span to span, as arrays, in the telemetry process.

They are computed for all rows at once, and put in the order of their forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from gateway.records.cells import DEGRADED, HAS_PARENT, IN_STREAM, SLOW
from gateway.telemetry.tracing.otlp_template import Template, hexadecimal, varints4, varints8
from gateway.telemetry.tracing.peers import Peer, read_peer
from gateway.telemetry.tracing.span_batches import Array, BatchRows, CallRows, RequestRows
from gateway.telemetry.tracing.span_templates import Form

Columns = dict[str, Array]

_FLAGS: Final = tuple(
    (name, 32 + place)
    for place, name in enumerate(
        (
            "degraded",
            "slow",
            "in_stream",
            "has_parent",
            "has_deadline",
            "has_batch",
            "knows_batch",
            "batch_failed",
            "has_detail",
            "has_port",
        )
    )
)


def request_columns(rows: RequestRows) -> tuple[Columns, Array]:
    """The columns by name, and the form of each row as a number (`form_of`)."""
    cells = rows.cells
    addresses, ports = _peers(rows)
    request_ids, id_bytes = _request_ids(rows)
    columns = {
        "trace": rows.traces,
        "span": rows.spans,
        "parent": rows.parents,
        "queue_span": rows.queue_spans,
        "run_span": rows.run_spans,
        "batch_trace": rows.batch_traces,
        "batch_span": rows.batch_spans,
        "batch_trace_digits": hexadecimal(rows.batch_traces),
        "batch_span_digits": hexadecimal(rows.batch_spans),
        "batch_size": varints4(rows.batches["requests"]),
        **_times(rows),
        "rows": varints4(np.maximum(cells["rows"], 0)),
        "input_bytes": varints8(np.maximum(cells["input_bytes"], 0)),
        "deadline_s": cells["deadline_s"],
        "address": addresses,
        "port": varints4(ports),
        "request_id": request_ids,
    }
    return columns, _form_key(rows, id_bytes, np.char.str_len(addresses), ports)


def _times(rows: RequestRows) -> Columns:
    """Times of the day in nanoseconds, none before the one that it follows."""
    arrived = rows.cells["arrived_ns"]
    ended = np.maximum(rows.cells["ended_ns"], arrived)
    started = np.clip(rows.batches["started"], arrived, ended)
    ran = np.clip(rows.batches["ran"], started, ended)
    return {
        "arrived": arrived + rows.offset_ns,
        "started": started + rows.offset_ns,
        "ran": ran + rows.offset_ns,
        "ended": ended + rows.offset_ns,
    }


def _form_key(rows: RequestRows, id_bytes: Array, address_bytes: Array, ports: Array) -> Array:
    """The form of each row as a number: see `form_of`."""
    cells = rows.cells
    flags = cells["flags"]
    has_detail = np.zeros(len(rows), bool)
    has_detail[list(rows.details)] = True
    bits = {
        "degraded": flags & DEGRADED != 0,
        "slow": flags & SLOW != 0,
        "in_stream": flags & IN_STREAM != 0,
        "has_parent": flags & HAS_PARENT != 0,
        "has_deadline": np.isfinite(cells["deadline_s"]),
        "has_batch": cells["batch"] > 0,
        "knows_batch": rows.batches["number"] != 0,
        "batch_failed": rows.batches["failed"] != 0,
        "has_detail": has_detail,
        "has_port": ports > 0,
    }
    numbers = (
        (cells["status"], 0),
        (cells["reason"] & 0xFF, 8),
        (id_bytes, 16),
        (address_bytes, 24),
        (cells["version"] + 1, 48),
    )
    return _packed((*numbers, *((bits[name], place) for name, place in _FLAGS)))


def form_of(key: int, versions: Mapping[int, tuple[str, int]]) -> Form:
    """The form that a number stands for."""
    model, version = versions.get((key >> 48) - 1, ("", 0))
    flags = {name: bool(key >> place & 1) for name, place in _FLAGS}
    numbers = {
        "status": key & 0xFF,
        "reason": key >> 8 & 0xFF,
        "id_bytes": key >> 16 & 0xFF,
        "address_bytes": key >> 24 & 0xFF,
    }
    return Form(model=model, version=version, **flags, **numbers)  # type: ignore[arg-type]


def batch_columns(rows: BatchRows) -> tuple[Columns, Array]:
    """The columns by name, and a number for each row.

    Rows of equal numbers differ in their columns only.
    """
    cells = rows.cells
    started = cells["started_ns"]
    columns = {
        "trace": rows.traces,
        "span": rows.spans,
        "started": started + rows.offset_ns,
        "collated": np.maximum(cells["collated_ns"], started) + rows.offset_ns,
        "ran": np.maximum(cells["run_ns"], started) + rows.offset_ns,
        "ended": np.maximum(cells["ended_ns"], started) + rows.offset_ns,
        "rows": varints4(np.maximum(cells["rows"], 0)),
        "size": varints4(np.maximum(cells["requests"], 0)),
        "padded": varints4(np.maximum(cells["padded_rows"], 0)),
        "dropped": varints4(rows.dropped),
    }
    flags = (
        (cells["failed"] != 0)
        | (cells["padded_rows"] > cells["rows"]) << 1
        | (rows.dropped > 0) << 2
    )
    return columns, _packed(
        ((cells["instance"].view(np.uint32), 0), (flags, 32), (cells["version"] + 1, 48))
    )


def call_columns(rows: CallRows) -> tuple[Columns, Array]:
    """The columns by name, and a number for each row.

    Rows of equal numbers differ in their columns only.
    """
    cells = rows.cells
    columns = {
        "trace": rows.traces,
        "span": rows.spans,
        "parent": rows.parents,
        "started": cells["started_ns"] + rows.offset_ns,
        "ended": np.maximum(cells["ended_ns"], cells["started_ns"]) + rows.offset_ns,
    }
    return columns, _packed(
        (
            (cells["instance"].view(np.uint32), 0),
            (cells["failed"] != 0, 32),
            (cells["version"] + 1, 48),
        )
    )


def in_groups(columns: Columns, key: Array) -> Iterator[tuple[Array, Columns]]:
    """The rows of each form: their indices, and their part of the columns."""
    order = np.argsort(key, kind="stable")
    key = key[order]
    ends = np.append(np.flatnonzero(key[1:] != key[:-1]) + 1, len(key)).tolist()
    if len(ends) > 1:
        columns = {name: column[order] for name, column in columns.items()}
    start = 0
    for end in ends:
        yield (
            order[start:end],
            columns
            if len(ends) == 1
            else {name: column[start:end] for name, column in columns.items()},
        )
        start = end


def fill(template: Template, columns: Columns, count: int) -> Array:
    """The messages of so many rows."""
    out = template.rows(count)
    for name in template.names:
        column = columns.get(name.rpartition(":")[2])
        if column is not None:
            out[name] = column[:, : out.dtype[name].itemsize] if column.ndim > 1 else column
    return out


def _packed(parts: tuple[tuple[Array, int], ...]) -> Array:
    key = np.zeros(len(parts[0][0]), np.uint64)
    for values, place in parts:
        key |= values.astype(np.uint64) << np.uint64(place)
    return key


def _peers(rows: RequestRows) -> tuple[Array, Array]:
    numbers, which = np.unique(rows.cells["peer"], return_inverse=True)
    peers = [
        read_peer(rows.names.peers[number]) if number in rows.names.peers else Peer()
        for number in numbers.tolist()
    ]
    addresses = np.array([peer.address.encode("utf-8", "replace")[:255] or b"" for peer in peers])
    return addresses[which], np.array([peer.port for peer in peers])[which]


def _request_ids(rows: RequestRows) -> tuple[Array, Array]:
    """Ids and their lengths.

    An id that was cut inside a character loses the bytes of that character; an id that stands in a
    detail does not stand here.
    """
    ids = rows.cells["request_id"]
    sizes = np.minimum(rows.cells["id_bytes"], rows.cells["request_id"].shape[1])
    for row, detail in rows.details.items():
        if detail.request_id:
            sizes[row] = 0
    longest = int(sizes.max(initial=0))
    # ASCII
    high = (ids[:, :longest] > 0x7F) & (np.arange(longest) < sizes[:, None])  # noqa: PLR2004
    if high.any():
        ids = ids.copy()
        for row in np.flatnonzero(high.any(axis=1)).tolist():
            request_id = ids[row, : sizes[row]].tobytes().decode("utf-8", "ignore").encode()
            ids[row, : len(request_id)] = np.frombuffer(request_id, np.uint8)
            sizes[row] = len(request_id)
    return ids, sizes
