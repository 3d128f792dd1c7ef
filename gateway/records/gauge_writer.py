"""Writes the gauges of a serving process every second.

They say how deep its queues are, how its breakers stand, and how late its loop is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol, Self

from gateway.records.events import Gauges, VersionGauges
from gateway.records.writer import RecordWriter

_EVERY_S: Final = 1.0
_LAG_EVERY_S: Final = 0.1
_AT_ONCE: Final = 64  # versions looked at between two turns of the loop
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_log = logging.getLogger(__name__)


class Watched(Protocol):
    """A version that is served, as the writer of gauges sees it."""

    def gauges(self) -> VersionGauges:
        """How it stands now."""
        ...

    def refresh(self) -> None:
        """Brings up to date what depends on time; called every second."""
        ...


class GaugeWriter:
    """Writes gauges as long as it is entered with `async with`."""

    def __init__(self, writer: RecordWriter, versions: Callable[[], Iterable[Watched]]) -> None:
        self._writer = writer
        self._versions = versions
        self._lag_s = 0.0
        self._failing = False
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._measure_lag(asyncio.get_running_loop().time())
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beating is not None:
            self._beating.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._writer.publish()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self._writer.names.refresh()
                self._writer.write_event(await self._gauges())
            except Exception:  # noqa: BLE001
                # whatever it is, such as no descriptor left to read with, may be over in a second
                if not self._failing:
                    _log.exception("the gauges of this process cannot be collected")
                self._failing = True
            else:
                self._failing = False

    async def _gauges(self) -> Gauges:
        versions = []
        for place, version in enumerate(list(self._versions())):
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            version.refresh()
            versions.append(version.gauges())
        lag_s = self._lag_s
        self._lag_s = 0.0
        return Gauges(
            at_ns=time.monotonic_ns(),
            pid=os.getpid(),
            loop_lag_s=lag_s,
            in_flight=sum(version.in_flight for version in versions),
            dropped=self._writer.dropped,
            cpu_s=time.process_time(),
            rss_bytes=int(_STATM.read_text().split()[1]) * _PAGE_BYTES,
            versions=tuple(versions),
        )

    def _measure_lag(self, expected_s: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._lag_s = max(self._lag_s, now - expected_s)
        self._timer = loop.call_at(now + _LAG_EVERY_S, self._measure_lag, now + _LAG_EVERY_S)

    def __repr__(self) -> str:
        return f"<GaugeWriter {'beating' if self._beating is not None else 'not begun'}>"
