"""The versions of one serving process between "prepared" and "closed".

Nothing is live before it is warm, nothing is closed before it is drained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from gateway.core.errors import GatewayError
from gateway.core.plan import VersionPlan
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.live_version import LiveVersion

Key = tuple[str, int]


class LiveVersions:
    """Builds versions, swaps them into the catalogue and takes old ones down.

    `build` opens a version and everything around it.
    """

    def __init__(
        self, catalogue: Catalogue, build: Callable[[VersionPlan], Awaitable[LiveVersion]]
    ) -> None:
        self._catalogue = catalogue
        self._build = build
        self._prepared: dict[int, dict[Key, LiveVersion]] = {}

    async def prepare(
        self, change_id: int, plans: Iterable[VersionPlan]
    ) -> tuple[tuple[Key, str], ...]:
        """Builds versions, none of them live yet.

        Returns those that failed, each with the reason.
        """
        ready = self._prepared.setdefault(change_id, {})
        errors: list[tuple[Key, str]] = []

        async def build(plan: VersionPlan) -> None:
            try:
                ready[plan.key] = await self._build(plan)
            except GatewayError as error:
                errors.append((plan.key, str(error)))

        await asyncio.gather(*(build(plan) for plan in plans))
        return tuple(errors)

    def commit(self, change_id: int, live: Iterable[Key], retire: Iterable[Key]) -> Awaitable[None]:
        """Swaps at once; what it returns ends when all that went out is drained and closed."""
        ready = self._prepared.pop(change_id, {})
        out = self._catalogue.swap([ready.pop(key) for key in live], retire)
        return self._take_down([*out, *ready.values()])

    def abort(self, change_id: int) -> Awaitable[None]:
        """Lets go what was prepared."""
        return self._take_down(list(self._prepared.pop(change_id, {}).values()))

    async def _take_down(self, out: list[LiveVersion]) -> None:
        while out:
            old = out.pop()
            await old.drain()
            await old.close()

    def __repr__(self) -> str:
        return f"<LiveVersions {sum(map(len, self._prepared.values()))} prepared>"
