"""Portions of metrics that last: the telemetry process makes anew only what has changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.telemetry.metrics.families import Family, Labels, Portion, Series, Value

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")

Sample = tuple[Family, Labels, Value]


@dataclass(slots=True)
class _Entry(Generic[S]):
    state: S
    portion: Portion


class CachedSamples(Generic[K, S]):
    """One portion for each of the things of a kind."""

    def __init__(self, samples: Callable[[K, S], Iterable[Sample]]) -> None:
        """`samples` returns what there is to show of a thing, by its key and state."""
        self._samples = samples
        self._entries: dict[K, _Entry[S]] = {}

    def shown(self, things: Iterable[tuple[K, S]]) -> list[Portion]:
        """The portions of all things that there are now.

        A thing whose state is equal to that of the last time has the same portion.
        """
        before = self._entries
        self._entries = {}
        for key, state in things:
            entry = before.get(key)
            if entry is None or entry.state != state:
                entry = self._made(key, state, entry.portion.samples if entry else ())
            self._entries[key] = entry
        return [entry.portion for entry in self._entries.values()]

    def _made(self, key: K, state: S, before: tuple[tuple[Series, Value], ...]) -> _Entry[S]:
        """Goes on with the series there were, which mostly are the same in the same order."""
        made: list[tuple[Series, Value]] = []
        others: dict[tuple[Family, Labels], Series] | None = None
        for place, (family, labels, value) in enumerate(self._samples(key, state)):
            series = before[place][0] if place < len(before) else None
            if series is None or series.family is not family or series.labels != labels:
                others = (
                    others
                    if others is not None
                    else {(each.family, each.labels): each for each, _ in before}
                )
                series = others.get((family, labels)) or Series(family, labels)
            made.append((series, value))
        return _Entry(state, Portion(tuple(made)))

    def __repr__(self) -> str:
        return f"<CachedSamples of {len(self._entries)}>"
