"""What the requests of one version go through, built from the inside out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.plan import VersionPlan
from gateway.core.predictor import Predictor
from gateway.serving.batching.batch import Runner
from gateway.serving.batching.batcher import Batcher, Instances
from gateway.serving.batching.dispatcher import Statistics, Witness
from gateway.serving.batching.splitter import Split
from gateway.serving.policies.admission.admission import Admission, Room, share
from gateway.serving.policies.breaker.breaker import Breaker
from gateway.serving.policies.breaker.circuit_breaker import Circuit
from gateway.serving.policies.breaker.reachable import Reachable
from gateway.serving.policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from gateway.serving.policies.fallback.other_version import Resolver


@dataclass(frozen=True)
class Backing:
    """What runs the batches of a version."""

    instances: Instances
    runner: Runner | None = None
    """Threads of this process, which are always there, run it.

    This runs small batches on the event loop; None: instances that may be lost.
    """


@dataclass(frozen=True)
class Surroundings:
    """What the versions of a process share."""

    processes: int
    house: Room
    """Room for the requests of all versions of this process."""
    targets: Resolver
    told: Callable[[object], None]


@dataclass(frozen=True)
class Stack:
    """The tree of predictors of one version."""

    outermost: Predictor
    unguarded: Predictor
    """What of it stands beneath the fallback."""
    batcher: Batcher


def build_stack(
    plan: VersionPlan,
    backing: Backing,
    circuit: Circuit,
    statistics: Statistics,
    surroundings: Surroundings,
    witness: Witness | None = None,
) -> Stack:
    """Stacks the predictors of one version; `witness` sees its batches."""
    subject = f"model '{plan.model}' version {plan.version}"
    # Nearest to the model: whoever gets here is valid and resolved, and waits only for company and
    # an instance. The batcher tells the circuit what became of each batch; retry and bisection
    # stand around the batch's run, inside it.
    retries = RetryBudget(plan.protection.retry, time.monotonic)
    batcher = Batcher(
        plan,
        backing.instances,
        statistics,
        ears=circuit,
        retries=retries,
        runner=backing.runner,
        witness=witness,
    )
    stack: Predictor = batcher
    if plan.batching.splits:
        # Around the batcher: the parts of one large request are requests to it like any other, and
        # share batches with others.
        stack = Split(stack, plan.batching.max_batch_size)
    if backing.runner is None:
        # Before queueing: a request that nobody could run is refused at once
        # instead of waiting for its deadline.
        stack = Reachable(stack, backing.instances.unreachable, subject)
    # Around all that can fail: while it is open nothing of the version is touched. Also where it
    # never opens by itself: operators may force it.
    stack = Breaker(stack, circuit, subject)
    admission = plan.protection.admission
    own = Room(
        subject,
        share(admission.max_in_flight, surroundings.processes),
        share(admission.max_in_flight_bytes, surroundings.processes),
    )
    if own.bounded:
        # Inside the fallback: a chain may answer for want of room where it is told to. Outside the
        # breaker: what it refuses is quickly gone again.
        stack = Admission(stack, own)
    outermost: Predictor = stack
    if plan.protection.fallback:
        # 16 ms of every start, for those who ask for it
        from gateway.serving.policies.fallback.chain import with_fallback  # noqa: PLC0415

        # Around everything of the version itself. Others' fallbacks enter beneath
        # it, so that no chain can loop.
        outermost = with_fallback(stack, plan, surroundings.targets, time.monotonic)
    if surroundings.house.bounded:
        # Outermost: without room in the house not even a fallback may run.
        outermost = Admission(outermost, surroundings.house)
    return Stack(outermost, stack, batcher)
