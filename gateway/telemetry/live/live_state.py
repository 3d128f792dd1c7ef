"""The gateway at this moment.

Counters, gauges, overview and what was written of requests, joined once a second.

Rates and percentiles are those of the last `WINDOW_S` seconds, at every moment alike. The members
of the JSON are described in `LiveState.document`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

import gateway
from gateway.core.errors import REASONS
from gateway.core.plan import Key
from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.telemetry_messages import Overview, ProcessState
from gateway.records.counters import StatisticsTable
from gateway.records.events import Gauges
from gateway.records.reader import Chunk
from gateway.telemetry.live.counter_window import NO_KEY, CounterWindow
from gateway.telemetry.live.gauges import (
    SILENT_AFTER_NS,
    LatestGauges,
    Standing,
    described,
    standings,
)
from gateway.telemetry.live.history import CHARTED_AT, History
from gateway.telemetry.live.json_document import Document, dumped
from gateway.telemetry.live.lost_spans import LostSpans, SpanExports
from gateway.telemetry.live.rates import FIGURES, Numbers, failures, figures
from gateway.telemetry.live.recent_events import RecentEvents, state_word
from gateway.telemetry.live.recent_requests import RecentRequests
from gateway.telemetry.live.warnings import notices

_log = logging.getLogger(__name__)

TICK_S: Final = 1.0
WINDOW_S: Final = 5
_GAUGE_NAMES: Final = ("queued", "queued_bytes", "in_flight", "running_batches")


class LiveState:
    """Gets the gateway's state (`on_event`) and what processes wrote (`consume`).

    Looks at the counters (`tick`); all on one thread.
    """

    def __init__(
        self,
        counters: StatisticsTable,
        trace_url: str = "",
        spans: SpanExports | None = None,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`trace_url`: where a trace is shown, `{trace_id}` in the place of its id.

        `spans`: what exports them.

        `now_ns`: the clock of cells; `now_s`: of Unix.
        """
        self._now_ns = now_ns
        self._now_s = now_s
        self._overview = Overview(ready=False, phase="starting", index=())
        self._counters = CounterWindow(counters, WINDOW_S)
        self._gauges = LatestGauges()
        self._history = History()
        self._requests = RecentRequests(trace_url)
        self._events = RecentEvents()
        self._lost_spans = LostSpans(spans)
        self._lost_spans.refresh(now_ns() / 1e9)
        self._known = False
        self._met_ns: dict[tuple[int, int], int] = {}  # by slot and pid
        self._epoch_s = now_s() - now_ns() / 1e9
        self._dropped: list[dict[int, int]] = []
        self._numbers: Numbers = np.zeros((1, len(FIGURES)))
        self._failures: Numbers = np.zeros((1, len(REASONS)))
        self._active: dict[Key, int] = {}
        self._speaking: dict[int, Gauges] = {}
        self._standing: dict[int, Standing] = {}
        self._made_at_s = now_s()
        self._window_s = 0.0
        self._document: Document | None = None
        self._texts: dict[str, tuple[object, str]] = {}

    def on_event(self, overview: Overview) -> None:
        """The gateway has changed."""
        if self._known:
            self._events.on_event(self._overview, overview, self._now_s())
        self._overview = overview
        self._known = True
        self._met_ns = {
            (each.slot, each.pid): self._met_ns.get((each.slot, each.pid), self._now_ns())
            for each in overview.processes
        }

    def consume(self, chunk: Chunk) -> None:
        """What a serving process wrote.

        What cannot be understood is logged and left out, for others read the same.
        """
        try:
            self._gauges.consume(chunk)
            if len(chunk.requests):
                self._requests.consume(chunk, self._epoch_s)
            self._events.consume(chunk, self._epoch_s)
        except Exception:  # noqa: BLE001
            # one unreadable chunk must not stop the reader
            _log.exception("what serving process %d wrote cannot be shown", chunk.slot)

    def tick(self) -> None:
        """Looks at everything; to be called every `TICK_S`."""
        now_ns = self._now_ns()
        self._made_at_s = self._now_s()
        self._epoch_s = self._made_at_s - now_ns / 1e9
        rows = self._overview.rows
        self._counters.refresh(now_ns, rows)
        self._speaking = self._gauges.speaking(
            now_ns, {process.slot: process.pid for process in self._overview.processes}
        )
        standing = standings(self._speaking)
        self._standing = {
            row: each
            for row, each in standing.items()
            if rows.get(row) == (each[0][1].model, each[0][1].version)
        }
        self._dropped = [
            *self._dropped[-WINDOW_S:],
            {slot: gauges.dropped for slot, gauges in self._speaking.items()},
        ]
        self._lost_spans.refresh(now_ns / 1e9)
        self._calculate()
        self._document = None

    def document(self) -> Document:
        """The JSON of the last tick.

        Members: `made_at_s` (Unix time), `window_s` (what rates and percentiles are taken over),
        `gateway`, `notices` (what to know before reading on, the worst first), `total`,
        `processes`, `requests` (failed, degraded and slow ones), `events`, both the newest first,
        and `versions`. Percentiles are null where nothing ended; gauges are the latest of the
        serving processes.
        """
        if self._document is None:
            self._document = Document(dict(self._members()), self._version_texts())
        return self._document

    def history(self, key: Key | None = None, since_s: float = 0.0) -> dict[str, object] | None:
        """The points after `since_s`, of all versions together or of one.

        None: there is no such version.
        """
        columns = self._history.columns(key, since_s)
        return None if columns is None else {"step_s": TICK_S, "window_s": WINDOW_S, **columns}

    def _calculate(self) -> None:
        counted, self._window_s = self._counters.within()
        chosen = np.flatnonzero(counted.any(1))
        counted = np.vstack((counted.sum(0), counted[chosen]))
        self._numbers = figures(counted, self._window_s)
        self._failures = failures(counted, self._window_s)
        keys = tuple(self._counters.keys[at] for at in chosen.tolist())
        self._active = {key: place for place, key in enumerate(keys, 1)}
        queued = np.zeros(1 + len(keys))
        in_flight = np.zeros(1 + len(keys))
        queued[0] = self._gauge("queued")
        in_flight[0] = self._gauge("in_flight")
        for standing in self._standing.values():
            place = self._active.get((standing[0][1].model, standing[0][1].version))
            if place is not None:
                queued[place] = sum([version.queued for _, version in standing])
                in_flight[place] = sum([version.in_flight for _, version in standing])
        points = np.column_stack((self._numbers[:, CHARTED_AT], queued, in_flight))
        self._history.add(self._made_at_s, keys, points, tuple(self._overview.rows.values()))

    def _members(self) -> Iterator[tuple[str, str]]:
        overview = self._overview
        yield "made_at_s", dumped(round(self._made_at_s, 3))
        yield "window_s", dumped(WINDOW_S)
        yield (
            "gateway",
            dumped(
                {
                    "gateway_version": gateway.__version__,
                    "phase": overview.phase,
                    "ready": overview.ready,
                    "address": overview.address,
                    "started_at_s": round(overview.started_s, 3),
                }
            ),
        )
        yield (
            "notices",
            dumped(
                notices(
                    overview,
                    self._silent(),
                    self._standing.values(),
                    self._lately_dropped(),
                    self._lost_spans.lately(),
                )
            ),
        )
        yield (
            "total",
            dumped({**self._figures(0), **{name: self._gauge(name) for name in _GAUGE_NAMES}}),
        )
        yield "processes", dumped([self._process(process) for process in overview.processes])
        yield "requests", dumped(self._requests.newest_first())
        yield "events", dumped(self._events.newest_first())

    def _version_texts(self) -> dict[str, str]:
        rows = {key: row for row, key in self._overview.rows.items()}
        texts: dict[str, tuple[object, str]] = {}
        for entry in self._overview.index:
            key = entry.model, int(entry.version) if entry.version.isdecimal() else 0
            name = f"{entry.model}/{entry.version}"
            standing = self._standing.get(rows.get(key, -1), ())
            place = self._active.get(key)
            made_of = (entry, standing)
            known = self._texts.get(name) if place is None else None
            text = (
                known[1]
                if known is not None and known[0] == made_of
                else dumped(self._version(entry, standing, place))
            )
            texts[name] = (made_of if place is None else None, text)
        self._texts = texts
        return {name: text for name, (_, text) in texts.items()}

    def _version(
        self, entry: IndexEntry, standing: Standing, place: int | None
    ) -> dict[str, object]:
        described_entry = {
            "model": entry.model,
            "version": entry.version,
            "state": state_word(entry.state),
            "reason": entry.reason,
        }
        return {
            **described_entry,
            **(_IDLE if place is None else self._figures(place)),
            **described(standing),
        }

    def _figures(self, place: int) -> dict[str, object]:
        # NaN is unlike itself
        values = [
            None if value != value else round(value, 3)  # noqa: PLR0124
            for value in self._numbers[place].tolist()
        ]
        reasons = {
            word: round(value, 3)
            for word, value in zip(REASONS, self._failures[place].tolist(), strict=True)
            if value
        }
        return {**dict(zip(FIGURES, values, strict=True)), "errors_per_s_by_reason": reasons}

    def _lately_dropped(self) -> dict[int, int]:
        """Cells that a process found no room for since it was first seen within the window.

        By slot.
        """
        first: dict[int, int] = {}
        for sample in reversed(self._dropped):
            first.update(sample)
        return {
            slot: cells - first[slot]
            for slot, cells in (self._dropped or [{}])[-1].items()
            if cells > first[slot]
        }

    def _silent(self) -> set[int]:
        """Slots whose processes have been there long enough to have sent gauges."""
        since_ns = self._now_ns() - SILENT_AFTER_NS
        return {
            slot
            for (slot, _), met_ns in self._met_ns.items()
            if met_ns < since_ns and slot not in self._speaking
        }

    def _gauge(self, name: str) -> int:
        field = "running" if name == "running_batches" else name
        return sum(
            [
                getattr(version, field)
                for standing in self._standing.values()
                for _, version in standing
            ]
        )

    def _process(self, process: ProcessState) -> Mapping[str, object]:
        gauges = self._speaking.get(process.slot)
        cpu_percent = self._gauges.cpu_percent(process.slot) if gauges is not None else None
        return {
            "process": process.slot,
            "pid": process.pid,
            "state": process.state,
            "restarts": process.restarts,
            "last_end": process.reason,
            "speaks": gauges is not None,
            "in_flight": gauges.in_flight if gauges else None,
            "loop_lag_ms": round(gauges.loop_lag_s * 1e3, 3) if gauges else None,
            "cpu_percent": round(cpu_percent, 1) if cpu_percent is not None else None,
            "memory_bytes": gauges.rss_bytes if gauges else None,
            "records_dropped": gauges.dropped if gauges else None,
        }

    def __repr__(self) -> str:
        return (
            f"<LiveState {self._overview.phase}, {len(self._overview.index)} versions, "
            f"{len(self._active) - (NO_KEY in self._active)} active>"
        )


_RATES: Final = [name for name in FIGURES if name.endswith("_per_s")]
_IDLE: Final[dict[str, object]] = {
    **{name: 0.0 if name in _RATES else None for name in FIGURES},
    "errors_per_s_by_reason": {},
}
