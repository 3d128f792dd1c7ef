"""The options of the control side.

Durations are seconds; what 0, None or an empty value means stands beside each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class ModelControlMode(StrEnum):
    """Who decides which models are loaded."""

    OPEN = "open"
    """All models at start, and callers may load and unload: the default."""
    NONE = "none"
    """All models at start; callers may change nothing."""
    POLL = "poll"
    """All models at start, then whatever the repository holds, looked at every `poll_interval_s`.

    Callers may change nothing.
    """
    EXPLICIT = "explicit"
    """The models named at start, then what callers load and unload."""


@dataclass(frozen=True, slots=True)
class ModelControlOptions:
    """Which models are loaded, when, and what that means for readiness."""

    mode: ModelControlMode = ModelControlMode.OPEN
    load_models: tuple[str, ...] = ()
    """Loaded at start under EXPLICIT; `*` is all; empty: none.

    Under any other mode it must be empty.
    """
    poll_interval_s: float = 15.0
    """Pause between two refreshes at the repository under POLL."""
    strict_readiness: bool = False
    """The server is ready only while every model is, but those that a caller unloaded.

    Else: once the start-up pass is over.
    """
    exit_on_error: bool = False
    """A model that cannot be loaded at start ends the gateway, with exit code 1."""
    concurrent_loads: int = 4
    """Models that are opened at the same time in each serving process."""
    progress_interval_s: float = 1.0
    """How often long loading is reported."""

    def __post_init__(self) -> None:
        if self.load_models and self.mode is not ModelControlMode.EXPLICIT:
            raise ValueError(
                f"--load-model is for --model-control explicit, not {self.mode.value}: the "
                "other modes load all models"
            )
        _require(
            self.poll_interval_s > 0, "the poll interval must be more than 0", self.poll_interval_s
        )
        _require(
            self.concurrent_loads > 0,
            "at least one model must be loaded at a time",
            self.concurrent_loads,
        )


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where models come from, and what holds for those whose configuration says nothing."""

    models: Path
    """The repository, or one model."""
    name: str = ""
    """What a single model is called; empty: as its folder."""
    cache_dir: Path | None = None
    """Where the findings of inspections are kept; None: under XDG_CACHE_HOME."""
    cores: int = 1
    """Cores that one serving process may count on."""
    default_max_batch_size: int = 64
    """For versions that are batched on evidence; 0: none is."""
    max_queue_requests: int = 4096
    """Requests of one version that may wait in one process."""
    max_queue_bytes: int = 512 << 20
    """Input of one version that may wait in one process."""


@dataclass(frozen=True, slots=True)
class RestartOptions:
    """How serving processes that die are replaced."""

    first_delay_s: float = 0.1
    """Before the first restart; it doubles with every death that follows too soon."""
    longest_delay_s: float = 15.0
    jitter: float = 0.25
    """A delay is drawn from this share around it, so that several do not start in step; 0: none."""
    stable_s: float = 30.0
    """A process that lived so long died of something new: the delay starts from the first again."""
    attempts: int = 5
    """Deaths in a row before any process ever listened that end the gateway."""

    def delay_s(self, deaths: int, draw: float) -> float:
        """The pause before a restart.

        Args:
            deaths: In a row, 1 or more.
            draw: A random number of [0, 1).
        """
        delay_s = min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(deaths - 1, 64))
        return delay_s * (1 + self.jitter * (2 * draw - 1))


@dataclass(frozen=True, slots=True)
class StopOptions:
    """How the gateway ends."""

    drain_delay_s: float = 5.0
    """After SIGTERM: not ready, but everything is still served, so that callers can go elsewhere.

    0: none.
    """
    grace_s: float = 20.0
    """Then: calls in flight may take so long to end; 0: they are cut off."""
    kill_after_s: float = 5.0
    """A process that has not ended so long after the grace is killed."""

    def __post_init__(self) -> None:
        for name in ("drain_delay_s", "grace_s", "kill_after_s"):
            value = getattr(self, name)
            _require(value >= 0 and math.isfinite(value), f"{name} must be 0 or more", value)


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """All settings of the control side."""

    host: str = "127.0.0.1"
    """A name or address; 0.0.0.0: all of both families."""
    port: int = 8001
    """0: a free one."""
    http_port: int | None = 8002
    """0: a free one; None: no HTTP."""
    processes: int = 1
    """Serving processes, 1..64."""
    model_control: ModelControlOptions = field(default_factory=ModelControlOptions)
    restart: RestartOptions = field(default_factory=RestartOptions)
    stop: StopOptions = field(default_factory=StopOptions)

    def __post_init__(self) -> None:
        # slots of the statistics
        _require(1 <= self.processes <= 64, "--processes must be 1 to 64, or auto", self.processes)  # noqa: PLR2004


def _require(holds: bool, text: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{text}: {value!r}")
