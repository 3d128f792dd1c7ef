"""The gateway at this moment, as the telemetry process shows it.

Counters, gauges, overview and what was written of requests are joined once a second. Rates and
percentiles are those of the last `WINDOW_S` seconds, at every moment alike. The members of the JSON
are described in `LiveState.document`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import numpy as np

import gateway
from gateway.core.plan import Key
from gateway.ipc.repository_index import IndexEntry
from gateway.ipc.telemetry_messages import Overview
from gateway.records.counters import StatisticsTable
from gateway.records.reader import Chunk
from gateway.telemetry.live.counter_window import NO_KEY
from gateway.telemetry.live.gauges import Standing, described, standings, totals
from gateway.telemetry.live.history import CHARTED_AT, History
from gateway.telemetry.live.json_document import Document, dumped
from gateway.telemetry.live.lost_spans import LostSpans, SpanExports
from gateway.telemetry.live.recent_events import RecentEvents, state_word
from gateway.telemetry.live.recent_requests import RecentRequests
from gateway.telemetry.live.seen_processes import SeenProcesses
from gateway.telemetry.live.warnings import notices
from gateway.telemetry.live.window_figures import ALL, WindowFigures

_log = logging.getLogger(__name__)

TICK_S: Final = 1.0
WINDOW_S: Final = 5


class LiveState:
    """Joins what is known of the gateway into one JSON document a second; all on one thread.

    It gets the gateway's state (`on_event`) and what processes wrote (`consume`), and looks at the
    counters (`tick`).
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

        `spans`: what exports them. `now_ns`: the clock of cells; `now_s`: of Unix.
        """
        self._now_ns = now_ns
        self._now_s = now_s
        self._overview = Overview(ready=False, phase="starting", index=())
        self._known = False
        self._processes = SeenProcesses(WINDOW_S)
        self._figures = WindowFigures(counters, WINDOW_S)
        self._history = History()
        self._requests = RecentRequests(trace_url)
        self._events = RecentEvents()
        self._lost_spans = LostSpans(spans)
        self._lost_spans.refresh(now_ns() / 1e9)
        self._standing: dict[int, Standing] = {}
        self._made_at_s = now_s()
        self._epoch_s = self._made_at_s - now_ns() / 1e9
        self._document: Document | None = None
        self._texts: dict[str, tuple[object, str]] = {}

    def on_event(self, overview: Overview) -> None:
        """Takes the gateway's state, because it has changed."""
        if self._known:
            self._events.on_event(self._overview, overview, self._now_s())
        self._overview = overview
        self._known = True
        self._processes.on_event(overview.processes, self._now_ns())

    def consume(self, chunk: Chunk) -> None:
        """Takes what a serving process wrote.

        What cannot be understood is logged and left out, because other consumers read the same.
        """
        try:
            self._processes.consume(chunk)
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
        self._figures.refresh(now_ns, rows)
        self._processes.refresh(self._overview.processes, now_ns)
        self._standing = {
            row: each
            for row, each in standings(self._processes.speaking).items()
            if rows.get(row) == (each[0][1].model, each[0][1].version)
        }
        self._lost_spans.refresh(now_ns / 1e9)
        self._chart()
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
            self._document = Document(self._members(), self._version_texts())
        return self._document

    def history(self, key: Key | None = None, since_s: float = 0.0) -> dict[str, object] | None:
        """The points after `since_s`, a Unix time, of one version or of all together.

        None: there is no such version.
        """
        columns = self._history.columns(key, since_s)
        return None if columns is None else {"step_s": TICK_S, "window_s": WINDOW_S, **columns}

    def _chart(self) -> None:
        """Adds a point to the history: figures, and the gauges that are charted beside them."""
        places = self._figures.places
        queued = np.zeros(1 + len(places))
        in_flight = np.zeros(1 + len(places))
        together = totals(self._standing.values())
        queued[ALL] = together["queued"]
        in_flight[ALL] = together["in_flight"]
        for standing in self._standing.values():
            place = places.get((standing[0][1].model, standing[0][1].version))
            if place is not None:
                own = totals([standing])
                queued[place] = own["queued"]
                in_flight[place] = own["in_flight"]
        points = np.column_stack((self._figures.numbers[:, CHARTED_AT], queued, in_flight))
        versions = tuple(self._overview.rows.values())
        self._history.add(self._made_at_s, tuple(places), points, versions)

    def _members(self) -> dict[str, str]:
        members = {
            "made_at_s": round(self._made_at_s, 3),
            "window_s": WINDOW_S,
            "gateway": self._gateway(),
            "notices": notices(
                self._overview,
                self._processes.silent(self._now_ns()),
                self._standing.values(),
                self._processes.lately_dropped(),
                self._lost_spans.lately(),
                self._processes.cpu_percent(),
            ),
            "total": {**self._figures.described(ALL), **totals(self._standing.values())},
            "processes": [self._processes.described(each) for each in self._overview.processes],
            "requests": self._requests.newest_first(),
            "events": self._events.newest_first(),
        }
        return {name: dumped(member) for name, member in members.items()}

    def _gateway(self) -> dict[str, object]:
        return {
            "gateway_version": gateway.__version__,
            "phase": self._overview.phase,
            "ready": self._overview.ready,
            "address": self._overview.address,
            "started_at_s": round(self._overview.started_s, 3),
        }

    def _version_texts(self) -> dict[str, str]:
        """The JSON of each version, by MODEL/VERSION.

        The text of an idle version is kept until what it is made of changes.
        """
        rows = {key: row for row, key in self._overview.rows.items()}
        texts: dict[str, tuple[object, str]] = {}
        for entry in self._overview.index:
            key = entry.model, int(entry.version) if entry.version.isdecimal() else 0
            name = f"{entry.model}/{entry.version}"
            standing = self._standing.get(rows.get(key, -1), ())
            place = self._figures.places.get(key)
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
        return {
            "model": entry.model,
            "version": entry.version,
            "state": state_word(entry.state),
            "reason": entry.reason,
            **self._figures.described(place),
            **described(standing),
        }

    def __repr__(self) -> str:
        places = self._figures.places
        return (
            f"<LiveState {self._overview.phase}, {len(self._overview.index)} versions, "
            f"{len(places) - (NO_KEY in places)} active>"
        )
