"""Which spans the telemetry process has lost within the last minute, and which exporter hangs."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

WINDOW_S: Final = 60.0
HANGS_AFTER_S: Final = 15.0
"""Exporters of OTLP give an export up after ten seconds, unless they are set to wait longer."""

_Counts = Mapping[str, Mapping[str, int]]


class SpanExports(Protocol):
    """What is known of the exporters of spans, by name."""

    @property
    def counts(self) -> Mapping[str, tuple[int, Mapping[str, int]]]:
        """Spans taken, and lost by reason, ever."""
        ...

    @property
    def asking_s(self) -> Mapping[str, float]:
        """How long an exporter has been at its current export; 0 where it waits for more."""
        ...


class Lost(NamedTuple):
    """What is wrong with an exporter."""

    exporter: str
    spans: int
    """How many were lost within the last minute."""
    reasons: tuple[str, ...]
    hangs_s: float = 0.0
    """How long it has not answered; 0: it does."""


class LostSpans:
    """Looks at the exporters' counts again and again, and remembers a minute of them."""

    def __init__(self, exports: SpanExports | None) -> None:
        self._exports = exports
        self._samples: deque[tuple[float, _Counts]] = deque()

    def refresh(self, now_s: float) -> None:
        """Looks at the counts; to be called every second or so.

        `now_s`: seconds of any clock that goes forward.
        """
        if self._exports is None:
            return
        self._samples.append(
            (
                now_s,
                {
                    exporter: dict(dropped)
                    for exporter, (_, dropped) in self._exports.counts.items()
                },
            )
        )
        while self._samples[0][0] < now_s - WINDOW_S:
            self._samples.popleft()

    def lately(self) -> list[Lost]:
        """Exporters that have lost spans within the last minute, or hang."""
        if self._exports is None or not self._samples:
            return []
        asking_s = self._exports.asking_s
        before = self._samples[0][1]
        found = []
        for exporter, dropped in self._samples[-1][1].items():
            more = {
                reason: count - before[exporter].get(reason, 0) for reason, count in dropped.items()
            }
            hangs_s = asking_s.get(exporter, 0.0)
            lost = Lost(
                exporter,
                sum(more.values()),
                tuple(reason for reason, count in more.items() if count),
                hangs_s if hangs_s > HANGS_AFTER_S else 0.0,
            )
            if lost.spans or lost.hangs_s:
                found.append(lost)
        return found
