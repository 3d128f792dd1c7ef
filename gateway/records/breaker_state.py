"""What the circuit breakers of a serving process say of themselves.

Plain values, which the main process and the telemetry process can read without the library that
the breakers are made with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"
TO_TRY: Final = "open, to try"
"""How gauges show a breaker that is open and whose reset time is over.

It stays so until the next request comes, which is let through to try.
"""

Forced = Literal["", "open", "closed"]
"""What an operator has set; empty: nothing, the breaker decides for itself."""

BreakerKey = tuple[str, int, str]
"""Model, version and instance; an empty instance: the version as a whole."""


def gauged(state: str, *, admits: bool) -> str:
    """The state as gauges show it; `admits`: the next request is let through."""
    return TO_TRY if state == OPEN and admits else state


def state_of(written: str) -> str:
    """The state behind what gauges show."""
    return OPEN if written == TO_TRY else written


class Transition(msgspec.Struct, frozen=True):
    """A breaker went from one state to another.

    `at` is a time of its own clock (`time.monotonic`), `retry_in_s` as in `Snapshot`.
    """

    name: str
    old: str
    new: str
    reason: str
    at: float
    retry_in_s: float
    key: BreakerKey = ("", 0, "")


class Snapshot(msgspec.Struct, frozen=True):
    """A breaker at one moment."""

    name: str
    state: str
    forced: Forced
    consecutive_failures: int
    window_batches: int
    window_failures: int
    retry_in_s: float
    """Seconds until the next request is let through to try.

    0: it is closed, or a request may go now or has gone. Infinity: it is forced open.
    """
    opened: int
    """How often it has opened."""
    last_error: str
    """The text of the last failure, in one line; empty: there was none."""


Report = tuple[tuple[BreakerKey, Snapshot], ...]
"""All breakers of one process."""


class Survey(msgspec.Struct, frozen=True):
    """All breakers of all processes."""

    forced: Mapping[BreakerKey, Forced]
    """What an operator has set in every process, whether there is such a breaker now or not.

    A breaker that is not named decides for itself.
    """
    reports: Mapping[int, Report | None]
    """By process; None: it did not answer in time."""
