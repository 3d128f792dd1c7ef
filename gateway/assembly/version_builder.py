"""Brings up a version in a serving process, with everything that runs and protects it.

It takes the version down again as well.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from gateway.assembly.predictor_stack import ProcessContext, VersionInstances, build_stack
from gateway.core.errors import Unavailable
from gateway.core.instance import Instance
from gateway.core.plan import VersionPlan
from gateway.protocol.codec import VersionCodec
from gateway.records.batch_writer import BatchWriter
from gateway.records.counters import StatisticsTable
from gateway.records.writer import RecordWriter
from gateway.serving.policies.breaker.breaker_registry import BreakerRegistry
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker
from gateway.serving.policies.output_guard.guarded_instance import GuardedInstance
from gateway.serving.policies.output_guard.output_guard import GuardedRunner, OutputGuard
from gateway.serving.routing.live_version import LiveVersion
from gateway.serving.runtime.instance_pool import InstancePool
from gateway.serving.runtime.loader import Loader
from gateway.serving.runtime.threads.thread_instance import ThreadInstance
from gateway.serving.runtime.threads.thread_lanes import ThreadSlots
from gateway.serving.runtime.threads.thread_pool import ThreadWorkers
from gateway.serving.version_gauges import WatchedVersion

if TYPE_CHECKING:
    from gateway.serving.runtime.process.process_workers import ProcessWorkers
    from gateway.serving.runtime.remote.grpc_channel import Channels
    from gateway.serving.runtime.remote.remote_instance import RemoteInstance


class VersionBuilder:
    """Builds the live versions of one process.

    Called by `gateway.serving.routing.version_changes.LiveVersions`; each version takes itself down
    again when it is closed.
    """

    def __init__(
        self,
        slot: int,
        table: StatisticsTable,
        workers: ThreadWorkers,
        loader: Loader,
        breakers: BreakerRegistry,
        context: ProcessContext,
        writer: RecordWriter,
    ) -> None:
        self._slot = slot
        self._table = table
        self._workers = workers
        self._loader = loader
        self._breakers = breakers
        self._context = context
        self._writer = writer
        self.watched: dict[WatchedVersion, None] = {}
        """Versions that are open."""
        self._remotes = AsyncExitStack()
        self._channels: Channels | None = None
        self._elsewhere: set[ProcessWorkers | RemoteInstance] = set()

    async def __aenter__(self) -> Self:
        await self._remotes.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes what runs versions in other processes.

        By then all versions are closed, or this process is about to end; a worker process that is
        stopped or hangs must not outlive it.
        """
        await asyncio.gather(*(each.close() for each in self._elsewhere))
        await self._remotes.aclose()

    async def build(self, plan: VersionPlan) -> LiveVersion:
        """The version, open and warm.

        Raises a GatewayError, having let go of everything, where that cannot be.
        """
        undo = AsyncExitStack()
        try:
            return await self._build(plan, undo)
        except ValueError as error:  # a fallback or a guard that cannot be made as it is configured
            await undo.aclose()
            raise Unavailable(str(error)) from None
        except BaseException:
            await undo.aclose()
            raise

    async def _build(self, plan: VersionPlan, undo: AsyncExitStack) -> LiveVersion:
        guard = OutputGuard(plan)
        statistics = self._table.writer(self._slot, plan.statistics_row)
        # Its name is written down before anything can run a batch.
        writer = BatchWriter(self._writer, f"{plan.model}/{plan.version}", plan.statistics_row)
        instances = await self._instances_for(plan, guard, writer, undo)
        # The version's own circuit breaker gets every batch's outcome, whichever instance ran it.
        breaker = self._breaker(plan, "", undo)
        stack = build_stack(plan, instances, breaker, statistics, self._context, writer)
        live = LiveVersion(
            plan,
            stack.outermost,
            VersionCodec(plan),
            counts=statistics,
            inside=stack.inside,
            without_fallback=stack.without_fallback,
            close=undo.aclose,
        )
        pool = instances.instances if isinstance(instances.instances, InstancePool) else None
        watched = WatchedVersion(live, stack.batcher, breaker, statistics, pool)
        self.watched[watched] = None
        undo.callback(self.watched.pop, watched)
        return live

    def _breaker(self, plan: VersionPlan, instance: str, undo: AsyncExitStack) -> CircuitBreaker:
        key = (plan.model, plan.version, instance)
        breaker = self._breakers.add(key, plan.protection.breaker)
        undo.callback(self._breakers.remove, key, breaker)
        return breaker

    async def _instances_for(
        self, plan: VersionPlan, guard: OutputGuard, writer: BatchWriter, undo: AsyncExitStack
    ) -> VersionInstances:
        """What runs the version.

        Threads of this process, with nothing in between, where nothing else is configured; else a
        pool of whatever is.
        """
        protection = plan.protection
        if protection.local and protection.workers is None and not protection.remotes:
            runner = await self._loader.open(plan)
            undo.push_async_callback(self._loader.close, runner)
            guarded = GuardedRunner(runner, guard) if guard.watches else runner
            return VersionInstances(ThreadSlots(guarded, self._workers, plan.instances), guarded)
        instances = [*await self._local(plan, undo), *await self._remote(plan, writer, undo)]
        # Each can fail on its own, so each has its own breaker; the pool skips those that are open.
        gates = [self._breaker(plan, instance.name, undo) for instance in instances]
        if guard.watches:
            instances = [GuardedInstance(instance, guard) for instance in instances]
        return VersionInstances(InstancePool(list(zip(instances, gates, strict=True))))

    async def _local(self, plan: VersionPlan, undo: AsyncExitStack) -> list[Instance]:
        if not plan.protection.local:
            return []
        if plan.protection.workers is None:
            runner = await self._loader.open(plan)
            undo.push_async_callback(self._loader.close, runner)
            return [ThreadInstance(runner, self._workers, plan.instances)]
        # imported late, for versions that are configured to run in worker processes
        from gateway.serving.runtime.process.process_workers import ProcessWorkers  # noqa: PLC0415

        workers = ProcessWorkers(plan, on_event=self._context.on_event)
        await workers.start()
        self._elsewhere.add(workers)
        undo.callback(self._elsewhere.discard, workers)
        undo.push_async_callback(workers.close)
        return list(workers.instances)

    async def _remote(
        self, plan: VersionPlan, writer: BatchWriter, undo: AsyncExitStack
    ) -> list[Instance]:
        if not plan.protection.remotes:
            return []
        # imported late: it brings grpc, which only remotes need until the transport does
        from gateway.serving.runtime.remote.grpc_channel import Channels  # noqa: PLC0415
        from gateway.serving.runtime.remote.remote_instance import RemoteInstance  # noqa: PLC0415

        if self._channels is None:
            self._channels = await self._remotes.enter_async_context(Channels())
        remotes = [
            RemoteInstance(
                plan, remote, self._channels, metadata=writer.outgoing, returned=writer.returned
            )
            for remote in plan.protection.remotes
        ]
        for remote in remotes:
            self._elsewhere.add(remote)
            undo.callback(self._elsewhere.discard, remote)
            undo.push_async_callback(remote.close)
        # all at once, because one that is silent takes two seconds
        await asyncio.gather(*(remote.start() for remote in remotes))
        return list(remotes)
