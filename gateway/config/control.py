"""The options of the main process.

Durations are seconds; what 0, None or an empty value means stands beside each.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import msgspec

from gateway.config.option import DURATION, FILE, FOLDER, Option
from gateway.config.written_values import http_port


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


class ModelPath(NamedTuple):
    """A model file, or a folder of one model or of several."""

    path: Path
    """Absolute."""
    name: str = ""
    """What one model by itself is called; empty: as its folder or file."""


class SourceOptions(msgspec.Struct, frozen=True):
    """Where models come from."""

    title: ClassVar = "what is served"
    models: Annotated[
        str,
        Option(
            "the models, NAME/VERSION/model.onnx; or one model, with model.onnx or version folders "
            "at the top",
            FOLDER,
        ),
    ] = ""
    name: Annotated[
        str, Option("what one model by itself is called", "NAME", default="as its folder")
    ] = ""
    cache_dir: Annotated[
        str,
        Option(
            "where findings about models are kept from one start to the next",
            FOLDER,
            default="onnx-gateway/inspection in XDG_CACHE_HOME",
        ),
    ] = ""
    paths: tuple[ModelPath, ...] = ()
    """`models`, and what the command line names besides."""


class ModelControlOptions(msgspec.Struct, frozen=True):
    """Which models are loaded, when, and what that means for readiness."""

    title: ClassVar = "what is served"
    mode: Annotated[
        ModelControlMode,
        Option(
            "open: all models at start, and callers may load and unload; none: all at start, "
            "callers change nothing; poll: the same, and DIR is looked at every --poll-interval; "
            "explicit: those of --load-model at start, and callers may load and unload",
            "MODE",
            key="model_control",
        ),
    ] = ModelControlMode.OPEN
    load_models: Annotated[
        tuple[str, ...],
        Option(
            "loaded at start under --model-control explicit; may be given several times, * is all",
            "NAME",
            key="load_model",
        ),
    ] = ()
    poll_interval_s: Annotated[
        float, Option("between two polls of DIR under --model-control poll", DURATION)
    ] = 15.0
    strict_readiness: Annotated[
        bool,
        Option(
            "ready only while every model is; else as soon as the start is over, whatever failed"
        ),
    ] = False
    """A model that a caller unloaded does not count."""
    exit_on_error: Annotated[
        bool,
        Option("a model that cannot be loaded at start ends the gateway, with exit status 1"),
    ] = False
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


class ListenOptions(msgspec.Struct, frozen=True):
    """Where the gateway listens, and whom it lets change anything."""

    title: ClassVar = "where it listens"
    host: Annotated[
        str, Option("a name or address of this machine; 0.0.0.0: all of both families", "HOST")
    ] = "127.0.0.1"
    port: Annotated[int, Option("for gRPC; 0: a free one", "PORT", least=0, most=65535)] = 8001
    http_port: Annotated[
        int | None,
        Option("for probes over HTTP; 0: a free one, off: no HTTP", "PORT", parse=http_port),
    ] = 8002
    tls_cert: Annotated[
        str, Option("the server's certificate chain, PEM", FILE, default="plaintext")
    ] = ""
    tls_key: Annotated[str, Option("its key, PEM", FILE)] = ""
    tls_client_ca: Annotated[
        str,
        Option(
            "roots that the certificates of clients must lead to, PEM",
            FILE,
            default="clients need no certificate",
        ),
    ] = ""
    admin_token_file: Annotated[
        str | None,
        Option(
            "who sends the token in it may change the server (load, unload, settings) from "
            "anywhere",
            FILE,
            default="nobody may",
        ),
    ] = None
    trust_loopback: Annotated[
        bool,
        Option(
            "callers on this machine may change the server without a token; not behind a proxy "
            "on it"
        ),
    ] = True


class RestartOptions(msgspec.Struct, frozen=True):
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


class StopOptions(msgspec.Struct, frozen=True):
    """How the gateway ends."""

    title: ClassVar = "how it ends"
    drain_delay_s: Annotated[
        float, Option("after SIGTERM: not ready, but everything is still served", DURATION)
    ] = 5.0
    """Callers can go elsewhere meanwhile; 0: no delay."""
    grace_s: Annotated[float, Option("then calls in flight may take so long to end", DURATION)] = (
        20.0
    )
    """0: they are cut off."""
    kill_after_s: float = 5.0
    """A process that has not ended so long after the grace is killed."""

    def __post_init__(self) -> None:
        for name in ("drain_delay_s", "grace_s", "kill_after_s"):
            value = getattr(self, name)
            _require(value >= 0 and math.isfinite(value), f"{name} must be 0 or more", value)


class ControlOptions(msgspec.Struct, frozen=True):
    """Everything the main process works by."""

    listen: ListenOptions = msgspec.field(default_factory=ListenOptions)
    processes: int = 1
    """Serving processes, 1..64."""
    model_control: ModelControlOptions = msgspec.field(default_factory=ModelControlOptions)
    restart: RestartOptions = msgspec.field(default_factory=RestartOptions)
    stop: StopOptions = msgspec.field(default_factory=StopOptions)

    def __post_init__(self) -> None:
        # the statistics table has 64 slots
        _require(1 <= self.processes <= 64, "--processes must be 1 to 64, or auto", self.processes)  # noqa: PLR2004


def _require(holds: bool, text: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{text}: {value!r}")
