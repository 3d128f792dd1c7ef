"""A statistics table, messages of two serving processes and the main process, and their metrics."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import SimpleNamespace

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.ipc.telemetry_messages import Overview, ProcessState
from gateway.records.counters import StatisticsTable, size_statistics_file
from gateway.records.events import Gauges, InstanceGauges, VersionGauges
from gateway.telemetry.metrics.collect import MetricsSource, NamesOf
from gateway.telemetry.metrics.prometheus import encode

ROW = 3
OTHER_ROW = 4
SECOND_NS = 1_000_000_000

VERSION_GAUGES = VersionGauges(
    row=ROW,
    model="digits",
    version=2,
    queued=5,
    queued_bytes=640,
    in_flight=7,
    running=1,
    breaker="half-open",
    forced="open",
    instances=(InstanceGauges("worker 1", available=False, running=0, breaker="open"),),
)


@dataclass
class Spans:
    counts: dict = field(
        default_factory=lambda: {
            "otlp": (11, {"queue_full": 2}),
            "console": (10, {"queue_full": 0}),
        }
    )


def gauges(pid, now_ns=0, versions=(VERSION_GAUGES,), **more):
    values = {
        "loop_lag_s": 0.25,
        "in_flight": 7,
        "dropped": 4,
        "cpu_s": 1.5,
        "rss_bytes": 4096,
        **more,
    }
    return Gauges(at_ns=now_ns, pid=pid, versions=tuple(versions), **values)


OVERVIEW = Overview(
    ready=True,
    phase="serving",
    index=(
        IndexEntry("digits", "2", VersionState.READY),
        IndexEntry("broken", "1", VersionState.UNAVAILABLE, "no such file"),
        IndexEntry("put away", "1", VersionState.UNAVAILABLE, "unloaded"),
        IndexEntry("never", "", None),
    ),
    rows={ROW: ("digits", 2)},
    processes=(ProcessState(0, 100, "serving", 0), ProcessState(1, 101, "restarting", 3)),
    started_s=1_700_000_000.5,
)


class Metrics:
    """The metrics of the telemetry process, made of a real statistics table and real messages."""

    def __init__(self, spans=None) -> None:
        self.fd = os.memfd_create("statistics")
        size_statistics_file(self.fd, 2)
        self.table = StatisticsTable(self.fd)
        self.now_ns = 0
        self.source = MetricsSource(self.table, spans, now_ns=lambda: self.now_ns)
        self.overview = OVERVIEW
        self.source.on_event(OVERVIEW)

    def close(self) -> None:
        os.close(self.fd)

    def say(self, slot, told) -> None:
        self.source.consume(SimpleNamespace(slot=slot, gauges=(told,)))

    def change(self, **fields) -> None:
        self.overview = replace(self.overview, **fields)
        self.source.on_event(self.overview)

    def text(self, whose=NamesOf.GATEWAY, accept="") -> str:
        return encode(self.source.collect(whose), accept)[0].decode()

    def samples(self, whose=NamesOf.GATEWAY) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return parsed(self.text(whose))

    def values(self, name, whose=NamesOf.GATEWAY, **labels) -> list[float]:
        """The values of all series of this name that have these labels."""
        wanted = set(labels.items())
        return [
            value
            for (found, having), value in self.samples(whose).items()
            if found == name and wanted <= having
        ]

    def value(self, name, whose=NamesOf.GATEWAY, **labels) -> float:
        (value,) = self.values(name, whose, **labels)
        return value


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples as the parser of prometheus_client reads them; no series may come twice."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # the parser adds `_total` to the names of counters
            name = (
                sample.name.removesuffix("_total") if family.name.startswith("nv_") else sample.name
            )
            key = name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found
