"""All worker processes of one version in one serving process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Self

from gateway.core.plan import VersionPlan
from gateway.onnx.session import SessionNotOpened
from gateway.serving.runtime.process.process_instance import ProcessInstance
from gateway.serving.runtime.process.worker_events import WorkerEvent
from gateway.serving.runtime.process.worker_process import WORKER_ENTRY


class ProcessWorkers:
    """Opens the version in as many processes as its plan says (`protection.workers`).

    Used by `async with`, or by `start` and `close`. A process that dies is started again, and its
    instance is not available meanwhile. `on_event` is called with every event, on the event loop.
    `entry`: ``MODULE:FUNCTION``, see `gateway.serving.runtime.process.worker_main`.
    """

    def __init__(
        self,
        plan: VersionPlan,
        *,
        on_event: Callable[[WorkerEvent], None] = lambda _event: None,
        entry: str = WORKER_ENTRY,
    ) -> None:
        assert plan.protection.workers is not None
        self._plan = plan
        renewing = threading.Lock()
        self.instances = tuple(
            ProcessInstance(plan, f"worker {i}", renewing, entry, on_event)
            for i in range(1, plan.protection.workers.count + 1)
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Returns when every worker is open and warm.

        Raises `SessionNotOpened`, all being ended again, where one cannot be.
        """
        try:
            error = await self._first_error()
        except BaseException:
            await self.close()
            raise
        if error:
            await self.close()
            raise SessionNotOpened(
                f"'{self._plan.model}' version {self._plan.version} cannot be opened "
                f"in a worker process: {error}"
            )

    async def close(self) -> None:
        """Ends all processes; returns when they are gone."""
        await asyncio.gather(*(instance.close() for instance in self.instances))

    async def _first_error(self) -> str:
        for start in asyncio.as_completed([instance.start() for instance in self.instances]):
            if error := await start:
                return error
        return ""

    def __repr__(self) -> str:
        return (
            f"<ProcessWorkers {self._plan.model} {self._plan.version}, "
            f"{sum(i.available for i in self.instances)} of {len(self.instances)} up>"
        )
