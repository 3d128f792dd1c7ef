"""The parts of a gateway that exists only as numbers.

Counters are written to a statistics table, events to rings, and the clock is moved by hand.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from gateway.core.errors import REASONS
from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.ipc.telemetry_messages import Overview, ProcessState
from gateway.records.cells import (
    CELL_BYTES,
    HAS_PARENT,
    REQUEST,
    REQUEST_ID_AT,
    REQUEST_IDS,
    REQUEST_PLAIN,
)
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.records.events import (
    Gauges,
    InstanceGauges,
    NameAssigned,
    ProcessStarted,
    StateChanged,
    VersionGauges,
    encode,
)
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.telemetry.live.live_state import LiveState

TRACES = "http://jaeger.test:16686/trace/{trace_id}"
STARTED_S = 1_700_000_000.0
PIDS = (4100, 4101)
READY = VersionState.READY
LOADING = VersionState.LOADING
UNAVAILABLE = VersionState.UNAVAILABLE


class Clock:
    """The monotonic clock and the time of the day, moved by hand."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self.wall_s = STARTED_S

    def ns(self) -> int:
        return int(self.now_s * 1e9)

    def unix_s(self) -> float:
        return self.wall_s + self.now_s


class Slot:
    """One serving process: the counters and the rings that it writes."""

    def __init__(self, table: StatisticsTable, rings_fd: int, slot: int) -> None:
        self.table = table
        self.slot = slot
        self.pid = PIDS[slot]
        self._writer = RingWriter(rings_fd, slot)
        self._reader = RecordReader(slot, RingReader(rings_fd, slot))
        self._write(ProcessStarted(self.pid, random.randbytes(16)))

    def name(self, row: int, model: str, version: int) -> None:
        self._write(NameAssigned("version", row, f"{model}/{version}"))

    def answer(
        self, row: int, requests: int, took_s: float, *, rows: int = 1, queue_s: float = 0.0
    ) -> None:
        """Counts a batch of requests that were answered."""
        counters = self.table.writer(self.slot, row)
        for _ in range(requests):
            counters.record_request(took_s, queue_s)
            counters.record_bytes(256, 64)
        infer_ns = int((took_s - queue_s) * 1e9)
        counters.record_batch(
            requests,
            requests * rows,
            int(queue_s * 1e9) * requests,
            0,
            infer_ns,
            0,
            0,
        )

    def fail(self, row: int, reason: str, took_s: float = 0.001) -> None:
        self.table.writer(self.slot, row).record_failure(REASONS.index(reason), took_s)

    def request(
        self,
        row: int,
        ended_ns: int,
        *,
        took_ms=5,
        reason="",
        status=0,
        flags=0,
        trace=b"",
        request_id="",
        detail=None,
    ):
        """Writes the cell of a request."""
        if detail is not None:
            self._write(detail)
        at = self._writer.offset()
        assert at >= 0
        self._writer.cells[at : at + CELL_BYTES] = bytes(CELL_BYTES)
        flags |= HAS_PARENT if trace else 0
        word = request_id.encode()
        plain = REQUEST_PLAIN.pack(
            REQUEST,
            status,
            flags,
            len(word),
            row,
            ended_ns - int(took_ms * 1e6),
            ended_ns,
            0,
            1,
            float("inf"),
            256,
            0,
            REASONS.index(reason),
        )
        self._writer.cells[at : at + len(plain)] = plain
        self._writer.cells[at + 56 : at + REQUEST_ID_AT] = REQUEST_IDS.pack(trace, b"", b"")
        self._writer.cells[at + REQUEST_ID_AT : at + REQUEST_ID_AT + len(word)] = word

    def decide(
        self,
        at_ns: int,
        what: str,
        model: str,
        version: int,
        state: str,
        text: str,
        instance: str = "",
    ) -> None:
        self._write(StateChanged(at_ns, what, model, version, instance, state, text))

    def gauges(
        self,
        at_ns: int,
        versions: tuple[VersionGauges, ...] = (),
        *,
        cpu_s=1.0,
        dropped=0,
        pid=0,
        in_flight=0,
    ) -> None:
        self._write(
            Gauges(at_ns, pid or self.pid, 0.0004, in_flight, dropped, cpu_s, 180 << 20, versions)
        )

    def tell(self, live: LiveState) -> None:
        """Publishes what was written and passes it to the live state."""
        self._writer.publish()
        self._reader.read()  # the first read sees what is there, the second returns it
        while (chunk := self._reader.read()) is not None:
            live.consume(chunk)

    def _write(self, note) -> None:
        assert self._writer.write_event(encode(note))


def gauged(
    row: int,
    model: str,
    version: int = 1,
    *,
    queued=0,
    running=0,
    breaker="closed",
    forced="",
    instances=(),
) -> VersionGauges:
    told = tuple(InstanceGauges(*each) for each in instances)
    return VersionGauges(
        row, model, version, queued, queued * 256, queued + running, running, breaker, forced, told
    )


class Numbers:
    """The statistics table, the slots and the clock, with a live state that reads them."""

    def __init__(
        self,
        names: Sequence[str] = ("digits", "penguins"),
        *,
        clock: Clock | None = None,
        trace_url: str = TRACES,
    ) -> None:
        self.clock = clock or Clock()
        self._stack = ExitStack()
        table_fd, rings_fd = (os.memfd_create(name) for name in ("statistics", "rings"))
        self._stack.callback(os.close, table_fd)
        self._stack.callback(os.close, rings_fd)
        size_statistics_file(table_fd, len(PIDS))
        size_rings_file(rings_fd, len(PIDS))
        self.table = StatisticsTable(table_fd)
        self.slots = [Slot(self.table, rings_fd, slot) for slot in range(len(PIDS))]
        self.names = list(names)
        for slot in self.slots:
            for row, name in enumerate(self.names):
                slot.name(row, name, 1)
        self.live = LiveState(self.table, trace_url, now_ns=self.clock.ns, now_s=self.clock.unix_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def overview(self, **changes) -> Overview:
        values = {
            "ready": True,
            "phase": "serving",
            "index": tuple(IndexEntry(name, "1", READY) for name in self.names),
            "rows": {row: (name, 1) for row, name in enumerate(self.names)},
            "processes": tuple(
                ProcessState(slot, pid, "serving", 0) for slot, pid in enumerate(PIDS)
            ),
            "address": "127.0.0.1:8001",
            "started_s": STARTED_S,
        }
        return Overview(**{**values, **changes})

    def second(self, count: int = 1) -> None:
        """Lets `count` seconds pass, with a reading of all slots after each."""
        for _ in range(count):
            self.clock.now_s += 1
            for slot in self.slots:
                slot.tell(self.live)
            self.live.tick()
