"""Logs how far loading is while it takes long, in the control process."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class Progress:
    """Counts models that are being loaded, and logs every `interval_s` seconds how far that is.

    It logs as long as `async with` lasts.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.total = 0
        self.done = 0
        self.failed = 0
        self.partly = 0
        self._started_s = 0.0
        self._reporting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Progress {self.text}>"

    @property
    def text(self) -> str:
        """`loaded 312 of 1000 models, 2 cannot be served, 1 only in part`."""
        failures = f", {self.failed} cannot be served" if self.failed else ""
        parts = f", {self.partly} only in part" if self.partly else ""
        models = f"{self.total} model{'' if self.total == 1 else 's'}"
        return f"loaded {self.done - self.failed} of {models}{failures}{parts}"

    @property
    def elapsed_s(self) -> float:
        """Seconds since `async with` began."""
        return asyncio.get_running_loop().time() - self._started_s

    def model_finished(self, *, failed: bool, live: bool) -> None:
        """One more model is done: as it was wanted, or not (`failed`), or some of it (`live`)."""
        self.done += 1
        self.failed += failed and not live
        self.partly += failed and live

    async def __aenter__(self) -> Self:
        self._started_s = asyncio.get_running_loop().time()
        self._reporting = asyncio.create_task(self._report())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._reporting is not None
        self._reporting.cancel()
        if self.total and error is None:
            log.info("%s in %.2f s", self.text, self.elapsed_s)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if self.total:
                log.info("%s (%.0f s)", self.text, self.elapsed_s)
