"""Runs of single rows, as many as there is time for; in the inspection process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

MANY_RUNS = 20


class SingleRows:
    """Answers rows one by one with `run`, and knows what a row costs.

    `budget_s`: seconds that all runs of a trial should take together.
    """

    def __init__(self, run: Callable[[Feed], list[Array]], budget_s: float) -> None:
        self._run = run
        self._budget_s = budget_s
        self.row_s = 0.0
        """Seconds of the quickest run of a row since `answers` was called."""

    def answers(self, feed: Feed, rows: int) -> list[list[Array]]:
        """The answers to the first rows; `rows` 0: to as many as there is time for.

        One answer alone says that there is no time for two.
        """
        self.row_s = math.inf
        answers = [self._row(feed, 0)]
        if not self.affords(MANY_RUNS):
            # the first run of a graph may be slower than any after it
            answers = [self._row(feed, 0)]
        return answers + [self._row(feed, row) for row in range(1, rows or self._affordable())]

    def affords(self, row_runs: int) -> bool:
        """Whether there is time for so many runs of a row."""
        return self.row_s * row_runs <= self._budget_s

    def _row(self, feed: Feed, row: int) -> list[Array]:
        single = taken(feed, np.array([row]))
        started = time.perf_counter()
        answers = self._run(single)
        self.row_s = min(self.row_s, time.perf_counter() - started)
        return answers

    def _affordable(self) -> int:
        """There are four cases, by the number of row runs that a trial's batches amount to.

        Five rows are some 20 row runs, three are 9, and two are 4, which may take ten times the
        budget; else there is one row, and no trial.
        """
        if self.affords(MANY_RUNS):
            return 5
        if self.affords(9):
            return 3
        return 2 if self.row_s * 4 <= 10 * self._budget_s else 1


def taken(feed: Mapping[str, Array], order: Array) -> Feed:
    """These rows of a feed, in this order."""
    return {name: array[order] for name, array in feed.items()}
