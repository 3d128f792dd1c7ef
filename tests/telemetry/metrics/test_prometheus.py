"""The text for Prometheus is what prometheus_client itself would have written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry

from gateway.telemetry.metrics.families import Buckets, Family, Kind, Portion, Series
from gateway.telemetry.metrics.prometheus import encode

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
COUNTER = Family("things_total", "Things.", Kind.COUNTER, "things")
GAUGE = Family("depth", 'A "depth" \\ of\nwater.', Kind.GAUGE, "depth")
HISTOGRAM = Family("took_seconds", "How long.", Kind.HISTOGRAM, "took", "s", (0.0001, 0.5, 10.0))


class Written:
    """The same numbers, given to prometheus_client."""

    def __init__(self, text, number, counts, total) -> None:
        self.families = [
            CounterMetricFamily("things", "Things.", labels=["model", "version"]),
            GaugeMetricFamily("depth", GAUGE.help, labels=["model"]),
            HistogramMetricFamily("took_seconds", "How long.", labels=["model"]),
        ]
        self.families[0].add_metric([text, "1"], counts[0])
        self.families[1].add_metric([text], number)
        cumulative = [sum(counts[: i + 1]) for i in range(4)]
        self.families[2].add_metric(
            [text], list(zip(("0.0001", "0.5", "10.0", "+Inf"), cumulative, strict=True)), total
        )

    def collect(self):
        return self.families


def normal(text):
    """Numbers as floats, the sum and count of a histogram in one order."""
    lines = [
        line if line.startswith("#") else (line.rpartition(" ")[0], float(line.rpartition(" ")[2]))
        for line in text.split("\n")
        if line
    ]
    return sorted(lines, key=str)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    number=st.floats(allow_nan=False),
    counts=st.lists(st.integers(0, 1 << 60), min_size=4, max_size=4),
    total=st.floats(0, 1e12),
)
def test_it_is_what_the_library_writes(accept, text, number, counts, total):
    of = (("model", text),)
    portions = [
        Portion(
            ((Series(COUNTER, (*of, ("version", "1"))), counts[0]), (Series(GAUGE, of), number))
        ),
        Portion(((Series(HISTOGRAM, of), Buckets(tuple(counts), total)),)),
    ]
    registry = CollectorRegistry()
    registry.register(Written(text, number, counts, total))
    write = openmetrics.generate_latest if accept else exposition.generate_latest

    assert normal(encode(portions, accept)[0].decode()) == normal(write(registry).decode())


def test_the_series_of_a_family_stand_together_whatever_portions_they_are_of():
    portions = [
        Portion(((Series(GAUGE, (("model", name),)), 1), (Series(COUNTER, (("model", name),)), 2)))
        for name in "ab"
    ]

    names = [
        line.partition("{")[0] for line in encode(portions)[0].decode().split("\n") if "{" in line
    ]

    assert names == ["depth", "depth", "things_total", "things_total"]


def test_a_portion_is_encoded_once_in_each_format():
    portion = Portion(((Series(GAUGE), math.pi),))
    first = encode([portion])
    kept = dict(portion.kept)

    assert encode([portion]) == first
    assert portion.kept == kept
    assert encode([portion], OPENMETRICS)[0].endswith(b"# EOF\n")
    assert len(portion.kept) == 2


def test_nothing_is_an_empty_text():
    assert encode([])[0] == b""
    assert encode([], OPENMETRICS)[0] == b"# EOF\n"
