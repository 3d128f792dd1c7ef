"""A batch that failed and is run again in parts.

What its parts came to is told once, when the last of them is over.
"""

from __future__ import annotations

from gateway.core.outcome import Ears, Outcome


class Origin:
    """The batch as it was first formed. It starts as one part, which is over at once.

    Where all requests of a part have left meanwhile, its end is never told, and
    nothing is learnt from the batch.
    """

    __slots__ = ("_answered", "_ears", "_error", "_generation", "_parts", "_run_s", "runs")

    def __init__(self, ears: Ears, generation: int) -> None:
        self._ears = ears
        self._generation = generation
        self._parts = 1
        self._answered = False
        self._run_s = 0.0
        self._error: Exception | None = None
        self.runs = 1
        """How often instances have been tried, where those were what failed."""

    def divide(self, parts: int) -> None:
        """A part has failed, and so many of it are run in its place."""
        self._parts += parts - 1

    def part_answered(self, run_s: float) -> None:
        """A part has its answers: what failed beside it is its own fault, and the model is well."""
        self._answered = True
        self._over(run_s)

    def part_failed(self, error: Exception, run_s: float) -> None:
        """A part has failed for good."""
        self._error = error
        self._over(run_s)

    def _over(self, run_s: float) -> None:
        self._parts -= 1
        self._run_s = max(self._run_s, run_s)
        if not self._parts:
            outcome = Outcome.SUCCESS if self._answered else Outcome.FAILURE
            self._ears.end(
                self._generation, outcome, self._run_s, None if self._answered else self._error
            )

    def __repr__(self) -> str:
        return f"<Origin {self._parts} parts under way>"
