"""What the control link can have a serving process do; carried out in `gateway.serving.orders`."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from gateway.core.plan import Key, VersionPlan
from gateway.ipc.messages import Listening, Publish
from gateway.records.breaker_state import Report


class Served(Protocol):
    """The orders of the control process, as a serving process carries them out.

    It stands here because the link knows no process. Everything is called on the event loop.
    `commit`, `abort` and `publish` are synchronous: when they return, the order holds for the next
    call. An exception from any of them ends the process, because it could no longer be trusted to
    agree with the others.
    """

    async def listen(self) -> Listening:
        """Opens the port; raises OSError or ValueError where no process could open it."""
        ...

    async def prepare(
        self, change_id: int, plans: tuple[VersionPlan, ...]
    ) -> tuple[tuple[Key, str], ...]:
        """Opens and warms the versions, without making any of them live.

        Several changes may be prepared at the same time, but never two of the same model. Returns
        the versions that failed, each with the reason.
        """
        ...

    def commit(
        self, change_id: int, live: tuple[Key, ...], retire: tuple[Key, ...]
    ) -> Awaitable[None]:
        """Makes prepared versions live and takes others away, in one step.

        The awaitable ends when all that was replaced or retired is drained and closed.
        """
        ...

    def abort(self, change_id: int) -> None:
        """Closes what was prepared under the id; called after `prepare` has returned."""
        ...

    def publish(self, publication: Publish) -> None:
        """Takes over what every process answers alike."""
        ...

    def report_breakers(self) -> Report:
        """The state of every circuit breaker of this process."""
        ...

    def drain(self) -> None:
        """Answers health checks with not ready, and goes on serving."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls; returns when those in flight are answered or cut off.

        They are cut off when the grace (seconds) is over.
        """
        ...
