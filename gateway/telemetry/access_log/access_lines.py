"""Lines of the access log, thousands at a time.

What is rare (an error's text, an id of odd characters) is put into its line one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import JSONEncoder
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.core.errors import REASONS
from gateway.core.grpc_status import STATUS_NAMES, status_name
from gateway.logs.formats import LogFormat, rfc3339
from gateway.logs.redaction import LONGEST_VALUE, quoted, without_values
from gateway.logs.setup import json_process
from gateway.records.cells import DEGRADED, IN_STREAM, SLOW
from gateway.records.events import Detail
from gateway.telemetry.access_log.access_rows import NONE, AccessRows
from gateway.telemetry.access_log.text_columns import (
    MOST_INTEGER,
    Array,
    Part,
    Text,
    chosen,
    fraction,
    hexadecimal,
    integers,
    joined,
    milliseconds,
    seconds,
)
from gateway.telemetry.tracing.peers import read_peer

LOGGER: Final = "gateway.access"
_MESSAGE: Final = "request ended"
_LONGEST_ERROR: Final = 1000  # characters
_JSON: Final = JSONEncoder(separators=(",", ":"))
_UTC = "%Y-%m-%dT%H:%M:%S"
_LOCAL = "%Y-%m-%d %H:%M:%S"
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_FLAGS: Final = (("degraded", DEGRADED), ("slow", SLOW), ("stream", IN_STREAM))
_NOTHING: Final = Detail()
_PLAIN: Final = np.isin(
    np.arange(256), [byte for byte in range(0x21, 0x7F) if chr(byte) not in '"\\=']
)
"""Bytes that stand for themselves in either form, without quotes in the human one."""


class AccessLines:
    """Makes lines in one form."""

    def __init__(self, log_format: LogFormat | str) -> None:
        self._json = log_format == "json"

    def lines(self, rows: AccessRows) -> bytes:
        """The lines of these requests, in their order, each with its end."""
        ids = _request_ids(rows)
        odd = np.flatnonzero(_is_odd(rows) | ids.odd)
        text = joined(self._parts(rows, ids), len(rows))
        if not len(odd):
            return text
        lines = text.split(b"\n")
        for row in odd.tolist():
            lines[row] = self._line(rows, row)
        return b"\n".join(lines)

    def _line(self, rows: AccessRows, row: int) -> bytes:
        """One request by itself; without its end."""
        micros = int(rows.ended[row])
        told = dict(told_of(rows, row))
        if self._json:
            head = {
                "time": rfc3339(micros / 1e6),
                "level": "INFO",
                "logger": LOGGER,
                "message": _MESSAGE,
            }
            return _JSON.encode(
                {**head, "process": json_process(rows.slot), "pid": rows.pid, **told}
            ).encode()
        at = time.strftime(_LOCAL, time.localtime(micros // 1_000_000))
        words = "".join(f" {name}={_human(value)}" for name, value in told.items())
        return f"{at},{micros // 1000 % 1000:03d} INFO    {LOGGER} [{rows.slot}]:{words}".encode()

    def _beginning(self, rows: AccessRows) -> Iterator[Part]:
        """What stands before all that is told of a request."""
        if self._json:
            who = (
                f'Z","level":"INFO","logger":"{LOGGER}","message":"{_MESSAGE}","process":"'
                f'{json_process(rows.slot)}","pid":{rows.pid}'
            )
            yield Part(b'{"time":"', seconds(rows.ended, _UTC, time.gmtime), b".")
            yield Part(b"", fraction(rows.ended, 6), who.encode())
        else:
            yield Part(b"", seconds(rows.ended, _LOCAL, time.localtime), b",")
            yield Part(b"", fraction(rows.ended, 3), f" INFO    {LOGGER} [{rows.slot}]:".encode())

    def _parts(self, rows: AccessRows, ids: _RequestIds) -> list[Part]:
        """Whole lines."""
        cells = rows.cells
        flags = rows.cells["flags"]
        parts = [
            *self._beginning(rows),
            self._text(
                "status", chosen(STATUS_NAMES, np.minimum(cells["status"], len(STATUS_NAMES) - 1))
            ),
            self._text(
                "reason",
                chosen(REASONS, np.minimum(cells["reason"], len(REASONS) - 1)),
                cells["reason"] > 0,
            ),
            *self._versions(rows),
            self._text("request_id", ids.column, ids.present),
            self._text("trace_id", hexadecimal(rows.traces)),
            self._text("span_id", hexadecimal(rows.spans)),
            self._clients(rows),
        ]
        for name, counts in (("rows", cells["rows"]), ("batch_size", rows.batch_size)):
            parts.append(self._value(name, integers(np.clip(counts, 0, MOST_INTEGER)), counts >= 0))
        for name, micros in (
            ("queue_ms", rows.queue),
            ("compute_ms", rows.compute),
            ("total_ms", rows.total),
            ("deadline_ms", rows.deadline),
        ):
            parts.append(
                self._value(
                    name, milliseconds(np.clip(micros, 0, MOST_INTEGER * 1000)), micros != NONE
                )
            )
        for name, flag in _FLAGS:
            parts.append(
                self._value(
                    name, np.broadcast_to(_TRUE, (len(rows), len(_TRUE))), flags & flag != 0
                )
            )
        return [
            *parts,
            Part(b"}" if self._json else b"", np.full((len(rows), 1), ord("\n"), np.uint8)),
        ]

    def _versions(self, rows: AccessRows) -> Iterator[Part]:
        numbers, which = np.unique(rows.cells["version"], return_inverse=True)
        named = [rows.names.versions.get(number) for number in numbers.tolist()]
        present = np.array([name is not None for name in named])[which]
        yield self._words(
            "model", [name[0] if name is not None else "" for name in named], which, present
        )
        yield self._value(
            "version",
            chosen([str(name[1]) if name is not None else "" for name in named], which),
            present,
        )

    def _clients(self, rows: AccessRows) -> Part:
        numbers, which = np.unique(rows.cells["peer"], return_inverse=True)
        clients = [_client(rows.names.peers.get(number, "")) for number in numbers.tolist()]
        return self._words(
            "client", clients, which, np.array([bool(client) for client in clients])[which]
        )

    def _words(self, name: str, texts: list[str], which: Array, present: Array) -> Part:
        """A value out of a few that may be anybody's words."""
        cut = [_cut(text, LONGEST_VALUE) for text in texts]
        shown = [_JSON.encode(text) if self._json else _human(text) for text in cut]
        return self._value(name, chosen(shown, which), present)

    def _text(self, name: str, column: Text, present: Array | None = None) -> Part:
        """A value of plain characters."""
        return (
            Part(f',"{name}":"'.encode(), column, b'"', present)
            if self._json
            else Part(f" {name}=".encode(), column, b"", present)
        )

    def _value(self, name: str, column: Text, present: Array | None = None) -> Part:
        return Part(
            f',"{name}":'.encode() if self._json else f" {name}=".encode(), column, b"", present
        )


def told_of(rows: AccessRows, row: int) -> Iterator[tuple[str, Any]]:
    """All that is told of one request, in its order."""
    cell = rows.cells[row]
    detail = rows.details.get(row, _NOTHING)
    yield "status", status_name(int(cell["status"]))
    if reason := REASONS[min(int(cell["reason"]), len(REASONS) - 1)]:
        yield "reason", reason
    model, version = rows.names.versions.get(int(cell["version"]), (detail.model, 0))
    words = (
        ("model", model),
        ("version", version),
        ("request_id", detail.request_id or _request_id(cell)),
    )
    yield from (
        (name, _cut(value, LONGEST_VALUE) if isinstance(value, str) else value)
        for name, value in words
        if value
    )
    yield from (
        ("trace_id", rows.traces[row].tobytes().hex()),
        ("span_id", rows.spans[row].tobytes().hex()),
    )
    if client := _client(rows.names.peers.get(int(cell["peer"]), "")):
        yield "client", _cut(client, LONGEST_VALUE)
    yield from (
        (name, int(count))
        for name, count in (("rows", cell["rows"]), ("batch_size", rows.batch_size[row]))
        if count >= 0
    )
    times = (
        ("queue_ms", rows.queue),
        ("compute_ms", rows.compute),
        ("total_ms", rows.total),
        ("deadline_ms", rows.deadline),
    )
    yield from ((name, int(micros[row]) / 1000) for name, micros in times if micros[row] != NONE)
    yield from ((name, True) for name, flag in _FLAGS if cell["flags"] & flag)
    rare = (
        ("served_by", detail.served_by),
        ("fallback_reason", detail.fallback_reason),
        ("retries", detail.retries),
        ("error", without_values(detail.error)),
    )
    yield from (
        (name, _cut(value, _LONGEST_ERROR) if isinstance(value, str) else value)
        for name, value in rare
        if value
    )


def _is_odd(rows: AccessRows) -> Array:
    """Rows that are made one by one, whatever their ids."""
    odd: Array = rows.cells["status"] >= len(STATUS_NAMES)
    odd[list(rows.details)] = True
    for micros in (rows.total, rows.queue, rows.compute, rows.deadline):
        odd |= micros > MOST_INTEGER * 1000
    return odd


class _RequestIds(NamedTuple):
    column: Text
    present: Array
    odd: Array
    """Those that do not stand for themselves.

    They are left out of the column: a line end in one would make two lines.
    """


def _request_ids(rows: AccessRows) -> _RequestIds:
    sizes = np.minimum(rows.cells["id_bytes"], rows.cells["request_id"].shape[1])
    longest = max(1, int(sizes.max(initial=0)))
    ids = rows.cells["request_id"][:, :longest]
    inside = np.arange(longest) < sizes[:, None]
    odd = (~_PLAIN[ids] & inside).any(axis=1)
    return _RequestIds(np.where(inside, ids, np.uint8(0)), (sizes > 0) & ~odd, odd)


def _request_id(cell: Any) -> str:
    """What is no UTF-8, because it was cut, loses its end."""
    text: str = cell["request_id"][: cell["id_bytes"]].tobytes().decode("utf-8", "ignore")
    return text


def _client(peer: str) -> str:
    address, port = read_peer(peer)
    return address if not port else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _human(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "true" if value is True else quoted(str(value), _LONGEST_ERROR + 3)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."
