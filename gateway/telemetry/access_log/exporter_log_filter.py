"""What OpenTelemetry's exporters write into our log, in the telemetry process.

They write a line for each export that fails, and quote headers that they cannot send.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

INTERVAL_S: Final = 60.0
_MOST_KINDS: Final = 256
_THEIRS: Final = "opentelemetry."
_READS_HEADERS: Final = "opentelemetry.util.re"
"""This logger writes one thing: what it could not read, which may be a token of any length."""
_HEADERS: Final = re.compile(r"OTEL_EXPORTER_OTLP_(?:[A-Z]+_)?HEADERS")
_SHORTEST_SECRET: Final = 6  # characters: what is shorter occurs in any text
_SCHEMES: Final = frozenset({"bearer", "basic"})
_NO_VALUE: Final = "= " + "".join(map(chr, range(0x20)))
_LEFT_OUT: Final = "(left out)"


class ExporterLogFilter(logging.Filter):
    """A handler's filter, which counts for a minute what the exporters log again and again.

    It leaves the values of their headers out of every record: they may be tokens.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment`: the environment that the exporters read."""
        super().__init__()
        secrets = sorted(set(_secrets(environment)), key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, secrets))) if secrets else None
        self._until: dict[tuple[str, str], float] = {}
        self._more: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; its text may be changed."""
        if record.name.startswith(_THEIRS) and not self._is_due(record):
            return False
        if record.name == _READS_HEADERS and record.args:
            record.args = (_LEFT_OUT,)
        if self._secret is not None:
            self._leave_out(record, self._secret)
        return True

    def _is_due(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg))
        now = time.monotonic()
        if now < self._until.get(kind, 0.0):
            self._more[kind] = self._more.get(kind, 0) + 1
            return False
        if len(self._until) >= _MOST_KINDS:
            self._until.clear()
            self._more.clear()
        self._until[kind] = now + INTERVAL_S
        if more := self._more.pop(kind, 0):
            record.msg = f"{record.getMessage()} ({more} more like it since the last of these)"
            record.args = ()
        return True

    def _leave_out(self, record: logging.LogRecord, secret: re.Pattern[str]) -> None:
        message = record.getMessage()
        if secret.search(message):
            record.msg = secret.sub(_LEFT_OUT, message)
            record.args = ()
        if (
            record.exc_info
            and record.exc_info[1] is not None
            and secret.search("".join(traceback.format_exception(record.exc_info[1])))
        ):
            record.msg = f"{record.getMessage()}: {type(record.exc_info[1]).__name__} {_LEFT_OUT}"
            record.args = ()
            record.exc_info = None


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    for name, text in environment.items():
        if _HEADERS.fullmatch(name):
            for header in text.split(","):
                # what has no name may be a token that ends with a =
                value = header.partition("=")[2].strip(_NO_VALUE) or header.strip(_NO_VALUE)
                words = re.split(r"[\s\x00-\x1f]+", f"{value} {unquote(value)}")
                yield from (
                    word
                    for word in words
                    if len(word) >= _SHORTEST_SECRET and word.lower() not in _SCHEMES
                )
