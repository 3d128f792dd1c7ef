"""Lines of the access log, thousands at a time, in the telemetry process.

The rare line with more to it (an error's text, an id of odd characters) is made by itself, by
`single_line`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from gateway.core.errors import REASONS
from gateway.core.grpc_codes import STATUS_NAMES
from gateway.logs.formats import LogFormat
from gateway.logs.redaction import LONGEST_VALUE
from gateway.logs.setup import json_process
from gateway.telemetry.access_log.access_rows import NONE, AccessRows
from gateway.telemetry.access_log.single_line import (
    FLAGS,
    JSON,
    LOCAL_TIME,
    LOGGER,
    MESSAGE,
    client_text,
    cut,
    human_text,
    single_line,
    times,
)
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

_UTC = "%Y-%m-%dT%H:%M:%S"
_TRUE: Final = np.frombuffer(b"true", np.uint8)
_PLAIN: Final = np.isin(
    np.arange(256), [byte for byte in range(0x21, 0x7F) if chr(byte) not in '"\\=']
)
"""The bytes that stand for themselves in either form, without quotes in the human one."""


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
            lines[row] = single_line(rows, row, as_json=self._json)
        return b"\n".join(lines)

    def _beginning(self, rows: AccessRows) -> Iterator[Part]:
        """What stands before a request's own fields."""
        if self._json:
            who = (
                f'Z","level":"INFO","logger":"{LOGGER}","message":"{MESSAGE}","process":"'
                f'{json_process(rows.slot)}","pid":{rows.pid}'
            )
            yield Part(b'{"time":"', seconds(rows.ended, _UTC, time.gmtime), b".")
            yield Part(b"", fraction(rows.ended, 6), who.encode())
        else:
            yield Part(b"", seconds(rows.ended, LOCAL_TIME, time.localtime), b",")
            yield Part(b"", fraction(rows.ended, 3), f" INFO    {LOGGER} [{rows.slot}]:".encode())

    def _parts(self, rows: AccessRows, ids: _RequestIds) -> list[Part]:
        """Whole lines."""
        end = np.full((len(rows), 1), ord("\n"), np.uint8)
        return [
            *self._beginning(rows),
            *self._outcome(rows),
            *self._versions(rows),
            self._text("request_id", ids.column, ids.present),
            self._text("trace_id", hexadecimal(rows.traces)),
            self._text("span_id", hexadecimal(rows.spans)),
            self._clients(rows),
            *self._numbers(rows),
            *self._flags(rows),
            Part(b"}" if self._json else b"", end),
        ]

    def _outcome(self, rows: AccessRows) -> Iterator[Part]:
        status = np.minimum(rows.cells["status"], len(STATUS_NAMES) - 1)
        reason = rows.cells["reason"]
        yield self._text("status", chosen(STATUS_NAMES, status))
        yield self._text(
            "reason", chosen(REASONS, np.minimum(reason, len(REASONS) - 1)), reason > 0
        )

    def _numbers(self, rows: AccessRows) -> Iterator[Part]:
        for name, counts in (("rows", rows.cells["rows"]), ("batch_size", rows.batch_size)):
            yield self._value(name, integers(np.clip(counts, 0, MOST_INTEGER)), counts >= 0)
        for name, micros in times(rows):
            shown = milliseconds(np.clip(micros, 0, MOST_INTEGER * 1000))
            yield self._value(name, shown, micros != NONE)

    def _flags(self, rows: AccessRows) -> Iterator[Part]:
        true = np.broadcast_to(_TRUE, (len(rows), len(_TRUE)))
        for name, flag in FLAGS:
            yield self._value(name, true, rows.cells["flags"] & flag != 0)

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
        clients = [client_text(rows.names.peers.get(number, "")) for number in numbers.tolist()]
        return self._words(
            "client", clients, which, np.array([bool(client) for client in clients])[which]
        )

    def _words(self, name: str, texts: list[str], which: Array, present: Array) -> Part:
        """A value out of a few texts, which callers may have chosen."""
        short = [cut(text, LONGEST_VALUE) for text in texts]
        shown = [JSON.encode(text) if self._json else human_text(text) for text in short]
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
    """Whether an id has characters that cannot stand in a line as they are.

    Such ids are left out of the column: a line end in one would make two lines.
    """


def _request_ids(rows: AccessRows) -> _RequestIds:
    sizes = np.minimum(rows.cells["id_bytes"], rows.cells["request_id"].shape[1])
    longest = max(1, int(sizes.max(initial=0)))
    ids = rows.cells["request_id"][:, :longest]
    inside = np.arange(longest) < sizes[:, None]
    odd = (~_PLAIN[ids] & inside).any(axis=1)
    return _RequestIds(np.where(inside, ids, np.uint8(0)), (sizes > 0) & ~odd, odd)
