"""Which priority level goes next: the most urgent, but none gets less than its share for long.

A decision without a clock, made in a serving process for each batch of a version with levels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence


class FairShare:
    """Levels are served by urgency.

    A level that waits earns its share of every row served, and goes first once it has earned a
    batch.

    What is earned is worth at most two batches, and nothing once nobody of the level waits: a share
    is not saved up for later.
    """

    def __init__(self, shares: Sequence[float], batch_rows: int) -> None:
        """`shares`: of levels 1, 2, ...; together at most 1. `batch_rows`: rows of a full batch."""
        self._shares = shares
        self._batch_rows = max(1, batch_rows)
        self._earned = dict.fromkeys(range(1, len(shares) + 1), 0.0)

    def choose(self, waiting: Collection[int]) -> int:
        """The level to serve, of those that somebody waits in."""
        for level in self._earned:
            if level not in waiting:
                self._earned[level] = 0.0
        owed = [level for level in waiting if self._earned[level] >= self._batch_rows]
        return max(owed, key=self._earned.__getitem__) if owed else min(waiting)

    def served(self, level: int, rows: int, waiting: Collection[int]) -> None:
        """So many rows of a level were taken; `waiting`: the levels that somebody waited in."""
        most = 2.0 * self._batch_rows
        for each, share in enumerate(self._shares, start=1):
            if each in waiting or each == level:
                paid = rows if each == level else 0
                self._earned[each] = min(most, max(0.0, self._earned[each] + share * rows - paid))
            else:
                # a level that is served alone is not chosen among others, so it is here that those
                # who have left are found out
                self._earned[each] = 0.0

    def __repr__(self) -> str:
        earned = [f"{level}: {rows:.0f} rows earned" for level, rows in self._earned.items()]
        return f"<FairShare {', '.join(earned)}>"


def default_shares(levels: int) -> tuple[float, ...]:
    """Half goes by urgency alone, half evenly."""
    return (0.5 / levels,) * levels
