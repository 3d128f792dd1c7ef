"""The single request that a half-open circuit breaker of a serving process lets through."""

from __future__ import annotations

from typing import Final


class Ticket:
    """Leave to ask, given back by `CircuitBreaker.release`."""

    __slots__ = ("probe",)

    def __init__(self, *, probe: bool) -> None:
        self.probe = probe


PASS: Final = Ticket(probe=False)
"""The ticket of every request that passes while the circuit breaker is closed."""


class Probe:
    """Who has the probe, if anybody, and whether its outcome may still come.

    There are three states:

    | | `is_free` | `abandoned` |
    |---|---|---|
    | nobody has it | yes | no |
    | a request has it | no | no |
    | its request has ended, its batch has not been reported | no | yes |

    `trials`: batches that began in this generation and were not reported yet.
    """

    __slots__ = ("_ticket", "abandoned", "trials")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new generation: what belonged to the old one is forgotten."""
        self._ticket: Ticket | None = None
        self.abandoned = False
        self.trials = 0

    @property
    def is_free(self) -> bool:
        """Nobody has it."""
        return self._ticket is None

    def give(self) -> Ticket:
        """Gives it to a request."""
        self._ticket = Ticket(probe=True)
        self.abandoned = False
        return self._ticket

    def abandon(self, ticket: object) -> None:
        """A request has ended; without effect if it is not the one that has the probe."""
        if ticket is self._ticket:
            self.abandoned = True
            self.give_back()

    def give_back(self) -> None:
        """Frees the probe if its request has ended and no batch of its time still runs."""
        if self.abandoned and not self.trials:
            self._ticket = None
            self.abandoned = False

    def __repr__(self) -> str:
        state = "free" if self.is_free else "given"
        return f"<Probe {state}{', abandoned' if self.abandoned else ''}, {self.trials} trials>"
