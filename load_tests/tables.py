"""The table of a load: a row for each contestant, and the ratios that count."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from load_tests.figures import MedianInterval, Slice, paired_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Row:
    """One contestant of a load.

    It has medians over its slices, the first fault of any, and the memory of its server.
    """

    calls_per_s: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    fault: str


@dataclass(frozen=True)
class Table:
    """What one load gave.

    There is a row for each contestant (a time each, in seconds, where starts are compared), and
    ratios of `figure` between pairs.
    """

    load: str
    figure: str
    rows: dict[str, Row]
    ratios: dict[str, MedianInterval]
    times_s: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            (
                f"{self.load:8} {name:16} {row.calls_per_s:9.0f}/s  p50 {row.p50_ms:8.2f} ms  p99 "
                f"{row.p99_ms:8.2f} ms  {row.memory_mib:5.0f} "
                f"MiB{'  WRONG ANSWERS: ' + row.fault if row.fault else ''}"
            )
            for name, row in self.rows.items()
        ]
        lines += [
            f"{self.load:8} {name:16} {time_s:9.3f} s" for name, time_s in self.times_s.items()
        ]
        lines += [
            f"{self.load:8} {pair}: {self.figure} {ratio}" for pair, ratio in self.ratios.items()
        ]
        return "\n".join(lines)


def tabulate(
    load: str,
    figure: str,
    slices: Mapping[str, Sequence[Slice]],
    memory_mib: Mapping[str, float],
    pairs: Pairs,
) -> Table:
    """Makes the table of a load from the slices of each contestant.

    For each pair of names it has the ratio of the first to the second.
    """
    rows = {
        name: Row(
            calls_per_s=median(s.calls_per_s for s in taken),
            p50_ms=median(s.p50_ms for s in taken),
            p99_ms=median(s.p99_ms for s in taken),
            memory_mib=memory_mib[name],
            fault=next((s.fault for s in taken if s.fault), ""),
        )
        for name, taken in slices.items()
    }
    values = {name: [getattr(s, figure) for s in taken] for name, taken in slices.items()}
    return Table(
        load, figure, rows, {f"{a} / {b}": paired_ratio(values[a], values[b]) for a, b in pairs}
    )


def tabulate_times(load: str, times_s: Mapping[str, Sequence[float]], pairs: Pairs) -> Table:
    """Makes the table of a load whose contestants only take time."""
    ratios = {f"{a} / {b}": paired_ratio(times_s[a], times_s[b]) for a, b in pairs}
    return Table(
        load, "seconds", {}, ratios, {name: median(taken) for name, taken in times_s.items()}
    )
