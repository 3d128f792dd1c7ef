"""A batch that failed in a serving process and is run again in parts.

What its parts came to is learnt once, when the last of them is over.
"""

from __future__ import annotations

from typing import TypeVar

from gateway.core.outcome import Outcome
from gateway.serving.batching.batch import Batch

T = TypeVar("T")


def halves(entries: list[T]) -> list[list[T]]:
    """The parts that a failed batch is run again in; one part where it has one request."""
    middle = (len(entries) + 1) // 2
    return [part for part in (entries[:middle], entries[middle:]) if part]


class Bisection:
    """The batch as it was first formed. It starts as one part, which is over at once.

    There are three ends:

    - a part was answered: what failed beside it is its own fault, and the model is well;
    - every part failed for good: the model failed;
    - all callers of a part have left, or its deadline passed: it is never over, and so nothing is
      learnt from the whole.
    """

    __slots__ = ("_answered", "_generation", "_longest_s", "_parts", "runs")

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._parts = 1
        self._answered = False
        self._longest_s = 0.0
        self.runs = 1
        """How often instances have been tried, where those were what failed."""

    def divide(self, parts: int) -> None:
        """A part has failed, and so many of it are run in its place."""
        self._parts += parts - 1

    def part_answered(self, batch: Batch) -> None:
        """A part has its answers."""
        self._answered = True
        self._over(batch)

    def part_failed(self, batch: Batch) -> None:
        """A part has failed for good."""
        self._over(batch)

    def _over(self, batch: Batch) -> None:
        """The last part carries what was learnt from all of them."""
        self._parts -= 1
        self._longest_s = max(self._longest_s, batch.elapsed_s)
        if not self._parts:
            batch.outcome = Outcome.SUCCESS if self._answered else Outcome.FAILURE
            batch.generation = self._generation
            batch.elapsed_s = self._longest_s

    def __repr__(self) -> str:
        return f"<Bisection {self._parts} parts under way>"
