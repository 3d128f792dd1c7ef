"""What the requests of one version go through, built from the inside out."""

from __future__ import annotations

import time

from gateway.batching.batch import Runner
from gateway.batching.batcher import Batcher, Instances
from gateway.batching.dispatch import Statistics
from gateway.batching.split import Split
from gateway.core.outcome import Deaf
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Predictor
from gateway.policies.retry_budget import RetryBudget


def build_stack(plan: VersionPlan, instances: Instances, statistics: Statistics, runner: Runner | None = None) -> Predictor:
    """The tree of predictors of one version, the outermost returned."""
    # Nearest to the model: whoever gets here is valid and resolved, and waits only for company and an instance.
    retries = RetryBudget(plan.protection.retry, time.monotonic)
    stack: Predictor = Batcher(plan, instances, statistics, ears=Deaf(), retries=retries, runner=runner)
    if plan.batching.splits:
        # Around the batcher: the parts of one large request are requests to it like any other, and share batches with others.
        stack = Split(stack, plan.batching.max_batch_size)
    return stack
