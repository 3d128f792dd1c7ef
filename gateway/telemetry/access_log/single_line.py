"""One line of the access log by itself, and the words that all its lines are made of.

In the telemetry process `access_lines` makes thousands of lines at a time out of columns; this is
for the rare request that has more to show (an error, a fallback, an id of odd characters).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from json import JSONEncoder
from typing import Any, Final

from gateway.core.errors import REASONS
from gateway.core.grpc_codes import status_name
from gateway.logs.formats import rfc3339
from gateway.logs.redaction import LONGEST_VALUE, quoted, without_values
from gateway.logs.setup import json_process
from gateway.records.cells import DEGRADED, IN_STREAM, SLOW
from gateway.records.events import Detail
from gateway.telemetry.access_log.access_rows import NONE, AccessRows
from gateway.telemetry.access_log.text_columns import Array
from gateway.telemetry.tracing.peers import read_peer

LOGGER: Final = "gateway.access"
MESSAGE: Final = "request ended"
JSON: Final = JSONEncoder(separators=(",", ":"))
LOCAL_TIME: Final = "%Y-%m-%d %H:%M:%S"
FLAGS: Final = (("degraded", DEGRADED), ("slow", SLOW), ("stream", IN_STREAM))
_LONGEST_ERROR: Final = 1000  # characters
_NOTHING: Final = Detail()


def single_line(rows: AccessRows, row: int, *, as_json: bool) -> bytes:
    """The line of one request, without its end."""
    micros = int(rows.ended[row])
    fields = dict(line_fields(rows, row))
    if as_json:
        head = {
            "time": rfc3339(micros / 1e6),
            "level": "INFO",
            "logger": LOGGER,
            "message": MESSAGE,
            "process": json_process(rows.slot),
            "pid": rows.pid,
        }
        return JSON.encode({**head, **fields}).encode()
    at = time.strftime(LOCAL_TIME, time.localtime(micros // 1_000_000))
    words = "".join(f" {name}={human_text(value)}" for name, value in fields.items())
    return f"{at},{micros // 1000 % 1000:03d} INFO    {LOGGER} [{rows.slot}]:{words}".encode()


def line_fields(rows: AccessRows, row: int) -> Iterator[tuple[str, Any]]:
    """The fields of one request's line, in their order."""
    cell = rows.cells[row]
    detail = rows.details.get(row, _NOTHING)
    yield "status", status_name(int(cell["status"]))
    if reason := REASONS[min(int(cell["reason"]), len(REASONS) - 1)]:
        yield "reason", reason
    yield from _names(rows, row, detail)
    yield from _numbers(rows, row)
    yield from ((name, True) for name, flag in FLAGS if cell["flags"] & flag)
    rare = (
        ("served_by", detail.served_by),
        ("fallback_reason", detail.fallback_reason),
        ("retries", detail.retries),
        ("error", without_values(detail.error)),
    )
    yield from _present(rare, _LONGEST_ERROR)


def _names(rows: AccessRows, row: int, detail: Detail) -> Iterator[tuple[str, Any]]:
    cell = rows.cells[row]
    model, version = rows.names.versions.get(int(cell["version"]), (detail.model, 0))
    words = (
        ("model", model),
        ("version", version),
        ("request_id", detail.request_id or _request_id(cell)),
    )
    yield from _present(words, LONGEST_VALUE)
    yield "trace_id", rows.traces[row].tobytes().hex()
    yield "span_id", rows.spans[row].tobytes().hex()
    client = client_text(rows.names.peers.get(int(cell["peer"]), ""))
    yield from _present((("client", client),), LONGEST_VALUE)


def _numbers(rows: AccessRows, row: int) -> Iterator[tuple[str, Any]]:
    for name, count in (("rows", rows.cells[row]["rows"]), ("batch_size", rows.batch_size[row])):
        if count >= 0:
            yield name, int(count)
    for name, micros in times(rows):
        if micros[row] != NONE:
            yield name, int(micros[row]) / 1000


def times(rows: AccessRows) -> tuple[tuple[str, Array], ...]:
    """The columns of times, in microseconds, by the names that they have as milliseconds."""
    return (
        ("queue_ms", rows.queue),
        ("compute_ms", rows.compute),
        ("total_ms", rows.total),
        ("deadline_ms", rows.deadline),
    )


def _present(fields: Iterable[tuple[str, Any]], most: int) -> Iterator[tuple[str, Any]]:
    for name, value in fields:
        if value:
            yield name, cut(value, most) if isinstance(value, str) else value


def _request_id(cell: Any) -> str:
    """The id in a cell; what is no UTF-8, because it was cut, loses its end."""
    text: str = cell["request_id"][: cell["id_bytes"]].tobytes().decode("utf-8", "ignore")
    return text


def client_text(peer: str) -> str:
    """A caller's address and port as the log shows them."""
    address, port = read_peer(peer)
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def human_text(value: object) -> str:
    """A value as a line for people has it, in quotes where it needs them."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return "true" if value is True else quoted(str(value), _LONGEST_ERROR + 3)


def cut(text: str, most: int) -> str:
    """The text, or so many characters of it and three dots."""
    return text if len(text) <= most else text[:most] + "..."
