"""The control process's side of inspection: a job in, findings out.

They come from the cache where they are known, and from an inspection process where not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from gateway.control.inspection.cache import FindingsCache
from gateway.control.inspection.job import InspectionJob
from gateway.control.inspection.key import findings_key
from gateway.control.inspection.process import InspectingProcess, ProcessLost
from gateway.core.plan import Findings

_RETIRE_BYTES = 256 << 20  # a process that held so large a model gives the memory back by ending


class Inspector:
    """Inspects model files in child processes, each file once; `async with` ends them.

    At most `max_children` processes run (0: one for each core). They start on demand and end
    `idle_s` seconds after the last job. `progress` is called with (done, asked) whenever a job is
    done; both numbers begin anew when all jobs are.
    """

    def __init__(
        self,
        cache: FindingsCache,
        *,
        max_children: int = 0,
        idle_s: float = 5.0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._cache = cache
        self._idle_s = idle_s
        self._progress = progress
        self._slots = asyncio.Semaphore(max_children or len(os.sched_getaffinity(0)))
        self._idle: list[InspectingProcess] = []
        self._running: dict[str, asyncio.Task[Findings]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closing: asyncio.TimerHandle | None = None
        self._asked = 0
        self._done = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        if self._closing is not None:
            self._closing.cancel()
        self._close_idle()
        await asyncio.gather(*self._ending)

    async def inspect(self, job: InspectionJob) -> Findings:
        """What inspecting the file showed; a bad file raises nothing, but has `Findings.error`.

        Equal jobs at the same time share one inspection.
        """
        self._asked += 1
        try:
            key = await asyncio.to_thread(findings_key, job)
            task = self._running.get(key)
            if task is None:
                task = asyncio.create_task(self._found(key, job))
                self._running[key] = task
                task.add_done_callback(lambda _: self._running.pop(key))
            return await asyncio.shield(task)
        finally:
            self._count()

    def __repr__(self) -> str:
        return (
            f"<Inspector {self._done} of {self._asked} done, {len(self._running)} in flight, "
            f"{len(self._idle)} idle processes>"
        )

    def _count(self) -> None:
        self._done += 1
        done = self._done
        asked = self._asked
        if done == asked:
            self._done = 0
            self._asked = 0
        if self._progress is not None:
            self._progress(done, asked)

    async def _found(self, key: str, job: InspectionJob) -> Findings:
        known = await asyncio.to_thread(self._known, key, job)
        if known is not None:
            return known
        async with self._slots:
            findings = await self._inspected(job)
        await asyncio.to_thread(self._cache.put, key, findings)
        return findings

    def _known(self, key: str, job: InspectionJob) -> Findings | None:
        """Findings with costs are also good for a job that did not ask for them."""
        known = self._cache.get(key)
        if known is not None or job.measure:
            return known
        return self._cache.get(findings_key(replace(job, measure=True)))

    async def _inspected(self, job: InspectionJob) -> Findings:
        if self._idle:
            try:
                return await self._asked_of(self._idle.pop(), job)
            except ProcessLost as lost:
                if lost.overstayed:
                    return Findings(error=str(lost))
                # It had opened other files before, and one of them may have
                # broken it: a fresh process decides.
        try:
            return await self._asked_of(await InspectingProcess.start(), job)
        except (ProcessLost, OSError) as lost:
            return Findings(error=str(lost))

    async def _asked_of(self, process: InspectingProcess, job: InspectionJob) -> Findings:
        try:
            findings = await process.inspect(job)
        except BaseException:
            await process.kill()
            raise
        if findings.memory_bytes > _RETIRE_BYTES:
            self._end(process)
        else:
            self._idle.append(process)
            self._close_later()
        return findings

    def _close_later(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._closing = asyncio.get_running_loop().call_later(self._idle_s, self._close_idle)

    def _close_idle(self) -> None:
        while self._idle:
            self._end(self._idle.pop())

    def _end(self, process: InspectingProcess) -> None:
        ending = asyncio.create_task(process.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
