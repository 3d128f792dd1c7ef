"""What a circuit says of itself.

Plain values that other processes can read without the library behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

CLOSED: Final = "closed"
OPEN: Final = "open"
HALF_OPEN: Final = "half-open"
TO_TRY: Final = "open, to try"
"""How gauges show one that is open with its reset time over.

It stays so until a request comes, which is let through to try.
"""

Forced = Literal["", "open", "closed"]
"""What an operator has set; empty: nothing, it decides for itself."""

BreakerKey = tuple[str, int, str]
"""Model, version, and instance of it; no instance: the version as a whole."""


def gauged(state: str, *, admits: bool) -> str:
    """As gauges show it."""
    return TO_TRY if state == OPEN and admits else state


def state_of(written: str) -> str:
    """The state behind what gauges show."""
    return OPEN if written == TO_TRY else written


@dataclass(frozen=True, slots=True)
class Transition:
    """A circuit went from one state to another.

    `at` is a time of its own clock (`time.monotonic`), `retry_in_s` as in `Snapshot`.
    """

    name: str
    old: str
    new: str
    reason: str
    at: float
    retry_in_s: float
    key: BreakerKey = ("", 0, "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A circuit at one moment."""

    name: str
    state: str
    forced: Forced
    consecutive_failures: int
    window_batches: int
    window_failures: int
    retry_in_s: float
    """Until the next request is let through to try; 0: it is closed, or one may go now or has gone.

    Infinity: it is forced open.
    """
    opened: int
    """How often it has opened."""
    last_error: str
    """The text of the last failure, in one line; empty: there was none."""


Report = tuple[tuple[BreakerKey, Snapshot], ...]
"""All circuits of one process."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All circuits of all processes."""

    forced: Mapping[BreakerKey, Forced]
    """What holds in every process, whether there is such a circuit at present or not.

    What is not named decides for itself.
    """
    reports: Mapping[int, Report | None]
    """By process; None: it did not answer in time."""
