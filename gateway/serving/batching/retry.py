"""Whether a batch that failed in a serving process is run again, and in which parts.

A batch that fails for a reason that may be one request's is bisected: halves, until the guilty
request fails alone with its own message and all others are answered. A batch whose instance was
lost under it is run once more, also in halves: if a request of it is what takes processes down, it
takes half as many with it.

There are five cases, in this order:

| it failed with | and | its requests | what is learnt |
|---|---|---|---|
| `DeadlineExpired` | | fail | nothing: the instance was not given the time |
| anything else | all callers have left | are over | nothing: whose fault it was stays unknown |
| `InstanceFailed` | attempts and budget are left | are run again | with the last part |
| another error | it has several requests | are run again | with the last part |
| any of the two | neither | fail | a failure, unless another part was answered |
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from gateway.core.errors import DeadlineExpired, InstanceFailed
from gateway.core.outcome import Outcome
from gateway.serving.batching.batch import Batch
from gateway.serving.batching.bisection import Bisection, halves
from gateway.serving.batching.queued_request import QueuedRequest
from gateway.serving.policies.retry_budget import RetryBudget

_OWN: Final = itertools.count()

Parts = Sequence[list[QueuedRequest]]
"""Requests to be queued again, each part in a line of its own."""


class Retry:
    """Decides what becomes of a failed batch; `attempts`: runs on instances, the first included."""

    def __init__(self, attempts: int, budget: RetryBudget) -> None:
        self._attempts = attempts
        self._budget = budget

    def parts(self, batch: Batch, entries: Sequence[QueuedRequest]) -> Parts:
        """What is to be queued again of a batch that failed, none where it failed for good.

        What was learnt, and who runs again, stands in the batch afterwards.
        """
        error = batch.error
        if isinstance(error, DeadlineExpired):
            batch.outcome = Outcome.NEUTRAL
            return ()
        alive = [entry for entry in entries if not entry.settled]
        if not alive:
            return ()
        bisection = entries[0].bisection or Bisection(batch.generation)
        if not self._may_run_again(batch, bisection):
            bisection.part_failed(batch)
            return ()
        batch.run_again = [entry.request for entry in alive]
        parts = halves(alive)
        bisection.divide(len(parts))
        for part in parts:
            key = (next(_OWN),)
            for entry in part:
                entry.key = key
                entry.bisection = bisection
        return parts

    def _may_run_again(self, batch: Batch, bisection: Bisection) -> bool:
        if not isinstance(batch.error, InstanceFailed):
            return not batch.alone
        if bisection.runs >= self._attempts or not self._budget.withdraw():
            return False
        bisection.runs += 1
        return True

    def __repr__(self) -> str:
        return f"<Retry {self._attempts} attempts, {self._budget!r}>"
