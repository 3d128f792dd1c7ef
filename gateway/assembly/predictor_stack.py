"""What the requests of one version go through in a serving process, built from the inside out.

The command line builds the same stack to show it (`gateway explain`), and runs nothing in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from gateway.core.batch_listener import BatchListener
from gateway.core.instance import Runner
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Predictor
from gateway.core.protection import AdmissionPlan
from gateway.records.batch_counter import BatchCounter
from gateway.records.batch_writer import BatchWriter
from gateway.records.counters import VersionStatistics
from gateway.serving.batching.batcher import Batcher
from gateway.serving.batching.slots import Instances
from gateway.serving.batching.splitter import Splitter
from gateway.serving.policies.admission.admission import Admission, Room, share
from gateway.serving.policies.admission.in_flight import InFlight, Inside
from gateway.serving.policies.admission.quota import Buckets, Quota
from gateway.serving.policies.breaker.breaker import BreakerPolicy
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.policies.breaker.reachable import Reachable
from gateway.serving.policies.retry_budget import RetryBudget

if TYPE_CHECKING:
    from gateway.serving.policies.fallback.other_version import Resolver


class VersionInstances(msgspec.Struct, frozen=True):
    """What runs the batches of a version."""

    instances: Instances
    runner: Runner | None = None
    """Runs small batches on the event loop, where threads of this process are the instances.

    They are always there. None: the instances may be lost.
    """


class ProcessContext(msgspec.Struct, frozen=True):
    """What the versions of a process share."""

    processes: int
    global_limit: Room
    """Room for the requests of all versions of this process."""
    targets: Resolver
    on_event: Callable[[object], None]


class Stack(msgspec.Struct, frozen=True):
    """The tree of predictors of one version."""

    outermost: Predictor
    """The way in for callers."""
    without_fallback: Predictor
    """The way in for the fallbacks of other versions."""
    inside: Inside
    batcher: Batcher


def build_stack(
    plan: VersionPlan,
    instances: VersionInstances,
    breaker: CircuitBreaker,
    statistics: VersionStatistics,
    context: ProcessContext,
    writer: BatchWriter | None = None,
) -> Stack:
    """Stacks the predictors of one version; `writer` writes its batches down."""
    batcher = _batcher(plan, instances, breaker, statistics, writer)
    own = _with_own_protections(batcher, plan, instances, breaker, context.processes)
    inside = Inside()
    outermost = _with_fallback(own, plan, context)
    if context.global_limit.bounded:
        # Around the fallback: without room in the whole gateway not even that may run.
        outermost = Admission(outermost, context.global_limit)
    # Around all that can take time: a version is closed when the last has left. What fails from
    # here on was taken on, and counts as a failure of the version.
    outermost = InFlight(outermost, inside, statistics, time.monotonic)
    if (buckets := _quota(plan, context.processes)) is not None:
        # Outermost: what a caller asks for beyond its share costs nothing and counts for nobody.
        outermost = Quota(outermost, buckets)
    # Others' fallbacks come in below the fallback, so that no chain can loop; they are inside too.
    return Stack(outermost, InFlight(own, inside, None, time.monotonic), inside, batcher)


def _batcher(
    plan: VersionPlan,
    instances: VersionInstances,
    breaker: CircuitBreaker,
    statistics: VersionStatistics,
    writer: BatchWriter | None,
) -> Batcher:
    """What is nearest to the model.

    A request that gets here is valid and resolved, and waits only for company and an instance.
    Retry and bisection stand around the batch's run, inside it.
    """
    retries = RetryBudget(plan.protection.retry, time.monotonic)
    return Batcher(
        plan,
        instances.instances,
        listeners=_listeners(instances, breaker, statistics, writer, retries),
        retries=retries,
        runner=instances.runner,
    )


def _with_own_protections(
    batcher: Batcher,
    plan: VersionPlan,
    instances: VersionInstances,
    breaker: CircuitBreaker,
    processes: int,
) -> Predictor:
    """What stands around the batcher, for every caller."""
    subject = f"model '{plan.model}' version {plan.version}"
    stack: Predictor = batcher
    if plan.batching.splits:
        # Around the batcher: the parts of one large request are requests to it like any other, and
        # share batches with others.
        stack = Splitter(stack, plan.batching.max_batch_size)
    if instances.runner is None:
        # Before queueing: what nobody could run is refused at once, not after its deadline.
        stack = Reachable(stack, instances.instances.unreachable, subject)
    # Around all that can fail: while it is open nothing of the version is touched. Also where it
    # never opens by itself: operators may force it.
    stack = BreakerPolicy(stack, breaker, subject)
    room = _room(plan.protection.admission, subject, processes)
    # Inside the fallback: a chain may answer for want of room where it is configured to.
    # Outside the breaker: what it refuses is quickly gone again.
    return Admission(stack, room) if room.bounded else stack


def _room(admission: AdmissionPlan, subject: str, processes: int) -> Room:
    """The share of this process in the room that a version has for requests."""
    return Room(
        subject,
        share(admission.max_in_flight, processes),
        share(admission.max_in_flight_bytes, processes),
    )


def _with_fallback(inner: Predictor, plan: VersionPlan, context: ProcessContext) -> Predictor:
    """Around everything of the version itself."""
    if not plan.protection.fallback:
        return inner
    # imported late: it takes 16 ms, which only a start with a fallback is to pay
    from gateway.serving.policies.fallback.chain import with_fallback  # noqa: PLC0415

    return with_fallback(inner, plan, context.targets, time.monotonic)


def _quota(plan: VersionPlan, processes: int) -> Buckets | None:
    admission = plan.protection.admission
    if not admission.quota_key:
        return None
    per_s = admission.quota_per_s / processes
    burst = (admission.quota_burst or admission.quota_per_s) / processes
    return Buckets(admission.quota_key, per_s, burst, time.monotonic)


def _listeners(
    instances: VersionInstances,
    breaker: CircuitBreaker,
    statistics: VersionStatistics,
    writer: BatchWriter | None,
    retries: RetryBudget,
) -> tuple[BatchListener, ...]:
    """Who listens to the version's batches, in the order in which they are called."""
    # First: a reader that sees a batch in the records finds it counted.
    listeners: list[BatchListener] = [BatchCounter(statistics)]
    if writer is not None:
        # Before the breaker: a batch is written down before the opening that it causes.
        listeners.append(writer)
    listeners.append(breaker)
    if instances.runner is None:
        # Last, since nobody waits for it; and only where instances can be lost.
        listeners.append(retries)
    return tuple(listeners)
