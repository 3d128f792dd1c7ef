"""How every process writes its log records: as lines for people, or as JSON.

The formatters are our own and not a library's: python-json-logger costs 17 ms of import and
structlog 270 ms, in processes whose start is counted in milliseconds; neither keeps callers' words
apart from our lines, and the access log could use neither.
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
    """The `extra` of a record about a request: those of the fields that are known.

    Callers' words may be given as they came; the formatters make them harmless.
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
    """Writes a record as one line, whatever its message, with the request's fields at its end.

    A traceback stands below it, indented.
    """

    def __init__(self, process: str) -> None:
        """`process` stands in brackets behind the logger's name; empty: nothing does."""
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
    """Writes a record as one JSON object in a line; times are UTC."""

    def __init__(self, process: str) -> None:
        """`process` is the value of the object's `process`."""
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
        for name, value in _known(record):
            number = name == "version" and value.isdecimal()
            fields[name] = int(value) if number else _cut(value, LONGEST_VALUE)
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _exception(record.exc_info[1], record.exc_info[2])
        if record.stack_info:
            fields["stack"] = _cut(record.stack_info, _LONGEST_STACK)
        return self._encode(fields)


def rfc3339(seconds: float) -> str:
    """The text of a time of the Unix epoch: UTC, six digits of a second."""
    seconds_since, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime(_SECOND, time.gmtime(seconds_since))}.{micros:06d}Z"


def _known(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """The request's fields that the record has, as texts."""
    attributes: dict[str, Any] = record.__dict__
    for name in FIELDS:
        value = attributes.get(name)
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
