"""What the requests of one version go through, built from the inside out."""

from __future__ import annotations

from gateway.batching.batch import Runner
from gateway.batching.batcher import Batcher, Statistics, Workers
from gateway.batching.split import Split
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Predictor


def build_stack(plan: VersionPlan, runner: Runner, workers: Workers, statistics: Statistics) -> Predictor:
    """The tree of predictors of one version, the outermost returned."""
    # Nearest to the model: whoever gets here is valid and resolved, and waits only for company and a worker.
    stack: Predictor = Batcher(plan, runner, workers, statistics)
    if plan.batching.splits:
        # Around the batcher: the parts of one large request are requests to it like any other, and share batches with others.
        stack = Split(stack, plan.batching.max_batch_size)
    return stack
