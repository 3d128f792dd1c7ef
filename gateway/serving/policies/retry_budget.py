"""How many runs of a version a serving process may repeat.

A share of the first ones, so that retries cannot overload the model themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.core.batch_listener import BatchListener, BatchView
from gateway.core.protection import RetryPlan

# how long a share that was not used may be saved up, as Finagle's budget does
_SAVED_S: Final = 10.0


class RetryBudget(BatchListener):
    """A bucket of tokens.

    Each first run puts in `budget` of one, a second puts in `budget_floor`, a repeated run takes
    one out.
    """

    def __init__(self, plan: RetryPlan, now: Callable[[], float]) -> None:
        self._plan = plan
        self._now = now
        self._floor = plan.budget_floor * 1.0
        self._floor_limit = self._floor
        self._floor_at = now()
        self._share = 0.0
        self._share_limit = max(1.0, plan.budget_floor * _SAVED_S)

    def batch_started(self, batch: BatchView) -> None:  # noqa: ARG002
        """Each run earns its share of a repeated one."""
        self.deposit()

    def deposit(self) -> None:
        """A batch is run."""
        if self._share < self._share_limit:
            self._share += self._plan.budget

    def withdraw(self) -> bool:
        """A batch may be run again now; counted as done."""
        if self._share >= 1.0:
            self._share -= 1.0
            return True
        now = self._now()
        self._floor = min(
            self._floor_limit, self._floor + (now - self._floor_at) * self._plan.budget_floor
        )
        self._floor_at = now
        if self._floor >= 1.0:
            self._floor -= 1.0
            return True
        return False

    def __repr__(self) -> str:
        return f"<RetryBudget {self._share:.1f} of the share, {self._floor:.1f} of the floor>"
