"""The access log: a line for each request, made in the telemetry process.

It is made of what the serving processes wrote into their record rings.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

import numpy as np

from gateway.config.access_log_choice import AccessChoice
from gateway.logs.formats import LogFormat
from gateway.records.cells import DEGRADED, SAMPLED, SLOW
from gateway.records.reader import Chunk
from gateway.telemetry.access_log.access_lines import AccessLines
from gateway.telemetry.access_log.access_rows import SlotBatches, access_rows
from gateway.telemetry.access_log.line_writer import LineWriter
from gateway.telemetry.access_log.single_line import LOGGER

MOST_LINES_PER_S: Final = 100_000
"""What costs a tenth of a core; what is more is left out, and counted."""
_LINES_AT_ONCE: Final = 2048  # a megabyte: what is made of them stays in the processor's cache
_WARN_EVERY_S: Final = 10.0
_CLOSE_S: Final = 2.0
_log = logging.getLogger(LOGGER)


class AccessLog:
    """Takes chunks of all slots, in one thread; another thread writes, from `start` to `close`."""

    def __init__(
        self,
        access_log: str,
        log_format: LogFormat | str,
        *,
        writer: LineWriter | None = None,
        most_lines_per_s: int = MOST_LINES_PER_S,
    ) -> None:
        """`access_log`: which requests have a line, see `AccessChoice`."""
        choice = AccessChoice.parse(access_log)
        self._on = choice != "off"
        self._ratio = choice.ratio
        self._lines = AccessLines(log_format)
        self._writer = writer or LineWriter(sys.stderr.fileno())
        self._batches: dict[int, SlotBatches] = {}
        self._most = most_lines_per_s
        self._left = most_lines_per_s
        self._until = 0.0
        self._warned = 0
        self._warn_at = 0.0
        self.written = 0
        """Lines handed to the writer."""
        self._left_out = 0
        self._failed = False

    @property
    def dropped(self) -> int:
        """Lines that were not written: too many a second, or their reader was too slow."""
        return self._left_out + self._writer.lost

    def start(self) -> None:
        """Begins to write."""
        self._writer.start()

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Writes what waits, as far as there is time, and logs how many lines were left out."""
        self._writer.close(timeout_s)
        self._warn(time.monotonic(), at_once=True)

    def consume(self, chunk: Chunk) -> None:
        """Writes the lines of the chunk's requests; it never waits and never raises."""
        if not self._on:
            return
        try:
            self._consume(chunk)
        except Exception:  # noqa: BLE001  # logged; a log must not stop what counts
            self._left_out += len(chunk.requests)
            if not self._failed:
                self._failed = True
                _log.exception(
                    "lines of %d requests could not be made. This is a bug.", len(chunk.requests)
                )
        self._warn(time.monotonic())

    def _consume(self, chunk: Chunk) -> None:
        batches = self._batches.setdefault(chunk.slot, SlotBatches())
        batches.consume(chunk)
        wanted = self._within_limit(self._wanted(chunk))
        offset_ns = time.time_ns() - time.monotonic_ns()
        for begin in range(0, len(wanted), _LINES_AT_ONCE):
            rows = access_rows(chunk, wanted[begin : begin + _LINES_AT_ONCE], batches, offset_ns)
            if self._writer.put(self._lines.lines(rows), len(rows)):
                self.written += len(rows)
            else:
                self._left_out += len(rows)

    def _wanted(self, chunk: Chunk) -> np.ndarray[Any, Any]:
        """Which requests have a line.

        A request that has a cell for no other reason was drawn for the log in its serving process;
        the others are drawn here.
        """
        flags = chunk.requests["flags"]
        wanted = (chunk.requests["status"] != 0) | (flags & (DEGRADED | SLOW) != 0)
        if self._ratio == 1:
            wanted[:] = True
        elif self._ratio > 0:
            draws = chunk.identifiers.request_spans(chunk.request_places).view(np.uint64)[:, 0]
            wanted |= (flags & SAMPLED == 0) | (draws < np.uint64(int(self._ratio * 2.0**64)))
        return np.flatnonzero(wanted)

    def _within_limit(self, wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        now = time.monotonic()
        if now >= self._until:
            self._until = now + 1.0
            self._left = self._most
        within = wanted[: self._left]
        self._left -= len(within)
        self._left_out += len(wanted) - len(within)
        return within

    def _warn(self, now: float, *, at_once: bool = False) -> None:
        dropped = self.dropped
        if dropped > self._warned and (at_once or now >= self._warn_at):
            _log.warning("%d lines were dropped: more than can be written", dropped - self._warned)
            self._warned = dropped
            self._warn_at = now + _WARN_EVERY_S

    def __repr__(self) -> str:
        return f"<AccessLog {self.written} lines, {self.dropped} dropped, {self._writer!r}>"
