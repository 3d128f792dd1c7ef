"""Metrics as the text that Prometheus reads, made in the telemetry process.

prometheus_client writes every line, once, and says which of its two formats a scraper wants. It
takes 4 us a line, and a thousand models have 150 000: so what it wrote is kept as a template, where
only numbers are filled in, and a portion that has not changed is not encoded again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric, exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from gateway.telemetry.metrics.families import Buckets, Family, Kind, Portion, Series, Value

_TOTAL: Final = "_total"
_END: Final = "# EOF\n"
_number: Final[Callable[[float], str]] = floatToGoString


class _One(Collector):
    """What prometheus_client takes for a registry."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


@dataclass(frozen=True, slots=True)
class _Format:
    name: str
    write: Callable[[Collector], bytes]
    end: str


_PLAIN: Final = _Format("text", exposition.generate_latest, "")
_OPEN: Final = _Format("openmetrics", openmetrics.generate_latest, _END)


def encode(portions: Sequence[Portion], accept: str = "") -> tuple[bytes, str]:
    """The text of all portions and its Content-Type, in the format that the Accept header prefers.

    The series of a family stand together, whichever portions they are of.
    """
    content_type = exposition.choose_encoder(accept)[1]
    chosen = _OPEN if content_type.startswith("application/openmetrics-text") else _PLAIN
    texts: dict[Family, list[str]] = {}
    for portion in portions:
        kept = portion.kept.get(chosen.name)
        if kept is None:
            kept = _portion(portion, chosen)
            portion.kept[chosen.name] = kept
        for family, text in kept:
            found = texts.get(family)
            if found is None:
                found = [_header(family, chosen)]
                texts[family] = found
            found.append(text)
    return (
        "".join(["".join(found) for found in texts.values()]) + chosen.end
    ).encode(), content_type


def _portion(portion: Portion, chosen: _Format) -> list[tuple[Family, str]]:
    found: dict[Family, str] = {}
    for series, value in portion.samples:
        template = series.kept.get(chosen.name)
        if template is None:
            template = _template(series, chosen)
            series.kept[chosen.name] = template
        found[series.family] = found.get(series.family, "") + template % _numbers(value)
    return list(found.items())


def _numbers(value: Value) -> tuple[int | str, ...]:
    if isinstance(value, Buckets):
        cumulative = tuple(value.cumulative())
        return (*cumulative, _number(value.sum), cumulative[-1])
    return (value if isinstance(value, int) else _number(value),)


def _template(series: Series, chosen: _Format) -> str:
    """The lines of a series with a place for each number."""
    labels = {
        name: value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"").replace("%", "%%")
        for name, value in series.labels
    }
    return _family_template(series.family, tuple(labels), chosen) % labels


@functools.cache
def _family_template(family: Family, names: tuple[str, ...], chosen: _Format) -> str:
    """The lines of a family's series with a place for the value of each label.

    With these filled in, it is the template of one series, with a place for each number.
    """
    labels = {name: f"%({name})s" for name in names}
    metric = _metric(family)
    if family.kind is Kind.HISTOGRAM:
        for bound in (*family.bounds, float("inf")):
            metric.samples.append(
                Sample(f"{family.name}_bucket", {**labels, "le": _number(bound)}, 0)
            )
        metric.samples += [
            Sample(f"{family.name}_sum", labels, 0),
            Sample(f"{family.name}_count", labels, 0),
        ]
    else:
        metric.samples.append(Sample(family.name, labels, 0))
    lines = [line for line in _write(metric, chosen) if not line.startswith("#")]
    return "".join([f"{line.rpartition(' ')[0]} %%s\n" for line in lines])


@functools.cache
def _header(family: Family, chosen: _Format) -> str:
    header = "".join([f"{line}\n" for line in _write(_metric(family), chosen)])
    if chosen is _PLAIN and family.kind is Kind.COUNTER:  # the library knows none without `_total`
        header = header.replace(f"# TYPE {family.name} untyped", f"# TYPE {family.name} counter")
    return header


def _metric(family: Family) -> Metric:
    kind = family.kind.value
    if family.kind is Kind.COUNTER and not family.name.endswith(_TOTAL):
        kind = "unknown"
    return Metric(
        family.name.removesuffix(_TOTAL) if kind == "counter" else family.name, family.help, kind
    )


def _write(metric: Metric, chosen: _Format) -> list[str]:
    return (
        chosen.write(_One(metric)).decode().removesuffix(chosen.end).removesuffix("\n").split("\n")
    )
