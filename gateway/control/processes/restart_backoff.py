"""How long the control process waits before it replaces a process that died."""

from __future__ import annotations

import random
import time

from gateway.config.control import RestartOptions


class RestartBackoff:
    """Longer delays for each death in a row; a process that lived `stable_s` begins a new row."""

    def __init__(self, options: RestartOptions) -> None:
        self._options = options
        self._started_s = 0.0
        self.deaths = 0
        """Deaths in a row."""

    def __repr__(self) -> str:
        return f"<RestartBackoff {self.deaths} deaths in a row>"

    def started(self) -> None:
        """A process is started now."""
        self._started_s = time.monotonic()

    def died(self) -> float:
        """The process has died; seconds to wait before the next is started."""
        stable = time.monotonic() - self._started_s >= self._options.stable_s
        self.deaths = 1 if stable else self.deaths + 1
        return self._options.delay_s(self.deaths, random.random())  # noqa: S311  # not a secret
