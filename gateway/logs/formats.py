"""Records as lines: for people, or as JSON.

Our own forty lines, not a library: python-json-logger costs 17 ms of import and structlog 270 ms,
in processes whose start is counted in milliseconds; neither keeps callers' words apart from our
lines, and the access log could use neither.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Literal

from gateway.logs.redaction import (
    LONGEST_MESSAGE,
    LONGEST_VALUE,
    indented,
    printable,
    quoted,
    without_values,
)

LogFormat = Literal["human", "json"]
FIELDS: Final = ("reason", "status", "model", "version", "request_id", "trace_id", "span_id")
"""What a record may carry besides its message, in this order; see `about`."""
_LONGEST_STACK: Final = 16384  # characters
_SECOND: Final = "%Y-%m-%dT%H:%M:%S"


def about(
    *,
    trace_id: bytes = b"",
    span_id: bytes = b"",
    request_id: str = "",
    model: str = "",
    version: int | str = "",
    status: str = "",
    reason: str = "",
) -> dict[str, object]:
    """The `extra` of a record that tells of a request: what is known of it.

    Callers' words may come as they are, formats make them harmless.
    """
    known = {
        "trace_id": trace_id,
        "span_id": span_id,
        "request_id": request_id,
        "model": model,
        "version": version,
    }
    return {
        name: value
        for name, value in (*known.items(), ("status", status), ("reason", reason))
        if value
    }


class HumanFormatter(logging.Formatter):
    """One line, whatever the message, with what is known of the request behind it.

    A traceback stands indented below.
    """

    def __init__(self, process: str) -> None:
        """`process`: what stands in brackets behind the logger's name; empty: nothing."""
        super().__init__()
        self._suffix = f" [{process}]" if process else ""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = (
            f"{self.formatTime(record)} {record.levelname:<7} {record.name}{self._suffix}: "
            f"{printable(without_values(record.getMessage()))}"
        )
        for name, value in _known(record):
            text += f" {name}={quoted(value)}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + indented(without_values(self.formatException(record.exc_info)))
        if record.stack_info:
            text += "\n" + indented(record.stack_info)
        return text


class JsonFormatter(logging.Formatter):
    """One object a line; times are UTC."""

    def __init__(self, process: str) -> None:
        """`process`: the value of that name."""
        super().__init__()
        from json import JSONEncoder  # noqa: PLC0415  # a millisecond, for those who want it

        self._process = process
        self._encode = JSONEncoder(separators=(",", ":"), default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, object] = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _cut(without_values(record.getMessage()), LONGEST_MESSAGE),
            "process": self._process,
            "pid": record.process,
        }
        fields.update(
            (
                name,
                int(value)
                if name == "version" and value.isdecimal()
                else _cut(value, LONGEST_VALUE),
            )
            for name, value in _known(record)
        )
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _exception(record.exc_info[1], record.exc_info[2])
        if record.stack_info:
            fields["stack"] = _cut(record.stack_info, _LONGEST_STACK)
        return self._encode(fields)


def rfc3339(seconds: float) -> str:
    """A time of the Unix epoch, in microseconds, UTC."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime(_SECOND, time.gmtime(whole))}.{micros:06d}Z"


def _known(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    said: dict[str, Any] = record.__dict__
    for name in FIELDS:
        value = said.get(name)
        if value:
            yield name, value.hex() if isinstance(value, bytes) else str(value)


def _exception(error: BaseException, where: TracebackType | None) -> dict[str, str]:
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    stack = without_values("".join(traceback.format_exception(kind, error, where)))
    if len(stack) > _LONGEST_STACK:
        stack = f"{stack[: _LONGEST_STACK // 2]}\n...\n{stack[-_LONGEST_STACK // 2 :]}"
    return {
        "type": name,
        "message": _cut(without_values(str(error)), LONGEST_MESSAGE),
        "stack": stack,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."
