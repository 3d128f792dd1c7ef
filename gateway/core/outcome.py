"""What the run of a batch taught about whoever ran it."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class Outcome(Enum):
    """Three, not two.

    What says nothing about the model must neither trip a breaker nor close one.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Nothing learnt: a cancelled or expired batch, a caller's own fault."""


class Ears(Protocol):
    """Whoever is told the outcomes of batches: a breaker."""

    def begin(self) -> int:
        """A batch starts to run; returns the generation it belongs to."""
        ...

    def end(
        self, generation: int, outcome: Outcome, elapsed_s: float, error: Exception | None
    ) -> None:
        """The batch is over, after running for so long.

        What belongs to an older generation is not heard.
        """
        ...
