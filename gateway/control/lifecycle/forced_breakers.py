"""The circuit breakers of all processes, as the control process forces and surveys them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from gateway.ipc.messages import BreakerReport, ReportBreakers
from gateway.records.breaker_state import BreakerKey, Forced, Report, Survey

log = logging.getLogger(__name__)

PATIENCE_S: Final = 1.0
"""Seconds after which a process that has not reported is shown as silent.

It may be frozen, or starting.
"""


class ForcedBreakers:
    """Knows which circuit breakers operators have forced, and asks the processes for all states.

    `slots` are those of the processes that are up; `broadcast` sends to all of them. What is forced
    reaches them by the next publication, and is forgotten with the gateway.
    """

    def __init__(
        self,
        slots: Collection[int],
        broadcast: Callable[[ReportBreakers], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._slots = slots
        self._broadcast = broadcast
        self._patience_s = patience_s
        self._request_ids = itertools.count(1)
        self._surveys: dict[int, _Gathering] = {}
        self.forced: Mapping[BreakerKey, Forced] = {}

    def __repr__(self) -> str:
        return f"<ForcedBreakers {len(self.forced)} forced, {len(self._surveys)} surveys under way>"

    def force(self, keys: Iterable[BreakerKey], mode: Forced) -> None:
        """Forces these circuit breakers, from the next publication on.

        An empty mode lets them decide for themselves again.
        """
        changed = dict.fromkeys(keys, mode)
        self.forced = {key: which for key, which in {**self.forced, **changed}.items() if which}
        for (model, version, instance), which in changed.items():
            what = f"is forced {which}" if which else "is set to automatic"
            log.info(
                "circuit breaker for '%s' version %d%s %s in every process",
                model,
                version,
                f" on {instance}" if instance else "",
                what,
            )

    async def survey(self) -> Survey:
        """The states of all circuit breakers now, by slot; None: no report came in time."""
        request_id = next(self._request_ids)
        gathering = _Gathering(self._slots)
        self._surveys[request_id] = gathering
        self._broadcast(ReportBreakers(request_id))
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gathering.complete.wait(), self._patience_s)
        finally:
            del self._surveys[request_id]
        return Survey(self.forced, dict(sorted(gathering.reports.items())))

    def reported(self, slot: int, report: BreakerReport) -> None:
        """A process has answered; an answer that comes too late is dropped."""
        gathering = self._surveys.get(report.request_id)
        if gathering is not None and slot in gathering.reports:
            gathering.reports[slot] = report.breakers
            gathering.refresh()

    def on_leave(self, slot: int) -> None:
        """A process is gone, and its circuit breakers with it; no survey waits for it."""
        for gathering in self._surveys.values():
            gathering.reports.pop(slot, None)
            gathering.refresh()


class _Gathering:
    """The reports that have come in so far for one survey."""

    def __init__(self, slots: Iterable[int]) -> None:
        self.reports: dict[int, Report | None] = dict.fromkeys(slots)
        self.complete = asyncio.Event()
        self.refresh()

    def refresh(self) -> None:
        if all(report is not None for report in self.reports.values()):
            self.complete.set()
