"""The metrics of the whole gateway at one moment, collected in the telemetry process.

They are made of what was counted, what serving processes say of themselves, and what the main
process knows.

A label's value is the name of a model that is loaded, or a word of the gateway's own. The series of
a version go when it is unloaded. Those of a process go when it has sent nothing for five seconds or
is another one, but not what it counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, Protocol

from gateway.core.plan import Key
from gateway.ipc.repository_index import UNLOADED
from gateway.ipc.telemetry_messages import Overview
from gateway.records.counters import GATEWAY_ROW, StatisticsTable
from gateway.records.events import Gauges, VersionGauges
from gateway.records.reader import Chunk
from gateway.telemetry.metrics import gateway_samples as gateway_metrics
from gateway.telemetry.metrics import metric_names as names
from gateway.telemetry.metrics import triton_names as triton
from gateway.telemetry.metrics.cached_samples import CachedSamples, Sample
from gateway.telemetry.metrics.families import Labels, Portion
from gateway.telemetry.metrics.version_samples import (
    failure_samples,
    version_labels,
    version_samples,
)

_STALE_NS: Final = 5_000_000_000
_NO_MODEL: Final[Labels] = ((names.MODEL, ""), (names.VERSION, ""))

_Row = tuple[int, Key]


class NamesOf(StrEnum):
    """Whose names the metrics bear."""

    GATEWAY = "gateway"
    TRITON = "triton"
    ALL = "all"


class SpanCounters(Protocol):
    """What became of spans, ever."""

    @property
    def counts(self) -> Mapping[str, tuple[int, Mapping[str, int]]]:
        """By exporter: how many spans it has taken, and how many were lost, by reason.

        A reason is a word of the gateway's own; all of them are there, 0 or not.
        """
        ...


class MetricsSource:
    """Collects the metrics.

    It gets the state of the gateway and what processes wrote on one thread, and may be read on any
    other.
    """

    def __init__(
        self,
        table: StatisticsTable,
        spans: SpanCounters | None = None,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`now_ns`: the clock of `Gauges`."""
        self._table = table
        self._spans = spans
        self._now_ns = now_ns
        self._overview = Overview(ready=False, phase="starting", index=())
        self._gauges: dict[int, Gauges] = {}
        self._reading = threading.Lock()
        self._build = CachedSamples(gateway_metrics.build_samples)
        self._gateway = CachedSamples(gateway_metrics.gateway_samples)
        self._models = CachedSamples(gateway_metrics.model_samples)
        self._processes = CachedSamples(gateway_metrics.process_state_samples)
        self._process_gauges = CachedSamples(gateway_metrics.process_samples)
        self._version_gauges = CachedSamples(gateway_metrics.version_gauge_samples)
        self._dropped = CachedSamples(_dropped_samples)
        self._exported = CachedSamples(_span_samples)
        self._unresolved = CachedSamples(self._unresolved_samples)
        self._versions = CachedSamples(self._version_samples)
        self._triton_versions = CachedSamples(self._triton_samples)
        self._triton_pending = CachedSamples(_pending_samples)

    def on_event(self, overview: Overview) -> None:
        """Takes the gateway's state, because it has changed."""
        self._overview = overview

    def consume(self, chunk: Chunk) -> None:
        """Keeps the latest gauges of each process."""
        if chunk.gauges:
            self._gauges[chunk.slot] = chunk.gauges[-1]

    def collect(self, whose: NamesOf = NamesOf.GATEWAY) -> list[Portion]:
        """All metrics there are now."""
        with self._reading:
            overview = self._overview
            gauges = dict(self._gauges)
            rows = [
                ((row, key), self._table.head(row)) for row, key in sorted(overview.rows.items())
            ]
            versions = list(_of_versions(overview, self._live(overview, gauges)))
            found: list[Portion] = []
            if whose is not NamesOf.TRITON:
                found += self._collect_gateway(overview, gauges)
                found += self._version_gauges.shown(versions)
                found += self._unresolved.shown(
                    [((GATEWAY_ROW, ("", 0)), self._table.head(GATEWAY_ROW))]
                )
                found += self._versions.shown(rows)
            if whose is not NamesOf.GATEWAY:
                found += self._triton_versions.shown(rows)
                found += self._triton_pending.shown(_pending(overview, versions).items())
            return found

    def _collect_gateway(
        self, overview: Overview, gauges: Mapping[int, Gauges]
    ) -> Iterator[Portion]:
        yield from self._build.shown([("", None)])
        yield from self._gateway.shown([("", overview)])
        yield from self._models.shown(
            ((entry.model, entry.version), entry.state)
            for entry in overview.index
            # a version that was unloaded on request is no trouble
            if entry.state is not None and entry.reason != UNLOADED
        )
        yield from self._processes.shown((process.slot, process) for process in overview.processes)
        yield from self._process_gauges.shown(self._live(overview, gauges).items())
        yield from self._dropped.shown(
            (slot, each.dropped) for slot, each in sorted(gauges.items())
        )
        if self._spans is not None:
            yield from self._exported.shown(
                (name, (exported, dict(dropped)))
                for name, (exported, dropped) in self._spans.counts.items()
            )

    def _live(self, overview: Overview, gauges: Mapping[int, Gauges]) -> dict[int, Gauges]:
        """The gauges of processes that are still there and still send any."""
        now_ns = self._now_ns()
        pids = {process.slot: process.pid for process in overview.processes}
        return {
            slot: each
            for slot, each in sorted(gauges.items())
            if now_ns - each.at_ns <= _STALE_NS and pids.get(slot, each.pid) == each.pid
        }

    def _version_samples(self, row: _Row, _: bytes) -> Iterator[Sample]:
        return version_samples(version_labels(*row[1]), self._table.read(row[0]))

    def _unresolved_samples(self, row: _Row, _: bytes) -> Iterator[Sample]:
        return failure_samples(_NO_MODEL, self._table.read(row[0]))

    def _triton_samples(self, row: _Row, _: bytes) -> Iterable[Sample]:
        return triton.version_samples(version_labels(*row[1]), self._table.read(row[0]))

    def __repr__(self) -> str:
        return f"<MetricsSource {len(self._overview.rows)} versions, {len(self._gauges)} processes>"


def _of_versions(
    overview: Overview, gauges: Mapping[int, Gauges]
) -> Iterator[tuple[tuple[int, int], VersionGauges]]:
    """The gauges of the versions that are live, by process and row."""
    for slot, process in gauges.items():
        for version in process.versions:
            if overview.rows.get(version.row) == (version.model, version.version):
                yield (slot, version.row), version


def _pending(
    overview: Overview, versions: Iterable[tuple[tuple[int, int], VersionGauges]]
) -> dict[Key, int]:
    """Requests that wait, by version, over all processes."""
    pending = dict.fromkeys(overview.rows.values(), 0)
    for _, version in versions:
        pending[version.model, version.version] += version.queued
    return pending


def _pending_samples(key: Key, pending: int) -> Iterator[Sample]:
    yield triton.PENDING, version_labels(*key), pending


def _dropped_samples(slot: int, dropped: int) -> Iterator[Sample]:
    yield names.RECORDS_DROPPED, ((names.PROCESS, str(slot)),), dropped


def _span_samples(exporter: str, spans: tuple[int, Mapping[str, int]]) -> Iterator[Sample]:
    exported, dropped = spans
    yield names.SPANS_EXPORTED, ((names.EXPORTER, exporter),), exported
    for reason, count in dropped.items():
        yield names.SPANS_DROPPED, ((names.EXPORTER, exporter), (names.REASON, reason)), count
