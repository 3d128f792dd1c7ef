"""Reads the rings of all serving processes, again and again, in the telemetry process.

What it finds it gives to the consumers: metrics, spans, access log, page.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.records.reader import Chunk, RecordReader

POLL_S: Final = 0.1
_WARN_EVERY_S: Final = 60.0
_log = logging.getLogger(__name__)


class Consumer(Protocol):
    """Wants to know what was written, and sees every chunk of it once."""

    def consume(self, chunk: Chunk) -> None:
        """Takes a chunk; never waits, never raises."""
        ...


class Pump:
    """Joins all rings to all consumers of one process."""

    def __init__(self, readers: Sequence[RecordReader], consumers: Sequence[Consumer]) -> None:
        self._readers = tuple(readers)
        self._consumers = tuple(consumers)
        self._dropped = self._all_dropped
        self._warned_at = -_WARN_EVERY_S

    async def run(self) -> None:
        """Polls ten times a second, more often where that is not enough."""
        while True:
            self.poll()
            await asyncio.sleep(0 if any(reader.backlog for reader in self._readers) else POLL_S)

    def poll(self) -> None:
        """Reads of each ring what the poll before this one has seen, or as much as one may take."""
        for reader in self._readers:
            chunk = reader.read()
            if chunk is not None:
                for consumer in self._consumers:
                    consumer.consume(chunk)
        self._warn()

    def rest(self) -> None:
        """Reads all that there is; to be called when nobody writes any more."""
        self.poll()
        left = -1
        while (unread := sum(reader.unread for reader in self._readers)) not in (0, left):
            left = unread
            self.poll()

    @property
    def _all_dropped(self) -> int:
        return sum(reader.dropped for reader in self._readers)

    def _warn(self) -> None:
        dropped = self._all_dropped
        now = time.monotonic()
        if dropped > self._dropped and now - self._warned_at >= _WARN_EVERY_S:
            _log.warning(
                "%d records of requests were dropped: they were written faster than they are "
                "read. Traces and logs are not complete, counters are",
                dropped - self._dropped,
            )
            self._dropped = dropped
            self._warned_at = now

    def __repr__(self) -> str:
        return f"<Pump {list(self._readers)}>"
