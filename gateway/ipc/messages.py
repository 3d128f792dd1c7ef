"""What the control side and a serving process tell each other over the control link.

How it is written on it.

A message is a frozen dataclass, pickled, behind four bytes of length. The link is a private socket
between processes of one gateway, which is what makes pickle safe here: nobody else can write to it.

The life of a serving process, as its link tells it::

    control                                  serving
    Start            ->
    Listen           ->                      <- Listening      (or StartFailed)
    Publish          ->                      <- Published
    Prepare          ->                      <- Prepared       opened and warmed, nothing is live
                                                               yet
    Commit or Abort  ->                      <- Committed      live, what was replaced takes no new
                                                               calls
                                             <- Retired        what was replaced has answered its
                                                               last call
    Reply            ->                      <- Ask            a caller wants the server changed
    ReportBreakers   ->                      <- BreakerReport
    Drain            ->                                        not ready any more, still serving
    Stop             ->                      <- Stopped
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gateway.core.errors import GatewayError
from gateway.core.plan import Key, VersionPlan
from gateway.core.setting_value import Setting
from gateway.records.breaker_state import CircuitKey, Forced, Report

LENGTH = struct.Struct(">I")

UNLOADED = "unloaded"
"""Triton's word, the reason of a version that is not served because somebody unloaded it."""


class VersionState(StrEnum):
    """Where a version stands, in the words of RepositoryIndex."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Change(StrEnum):
    """What a caller may ask of the control side."""

    LOAD = "load"
    UNLOAD = "unload"
    TRACE_SETTINGS = "trace_settings"
    LOG_SETTINGS = "log_settings"
    BREAKERS = "breakers"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of RepositoryIndex."""

    model: str
    version: str = ""
    """Empty where the model as a whole cannot be served, or was never loaded."""
    state: VersionState | None = None
    """None: in the repository, never loaded."""
    reason: str = ""


# Control to serving.


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: who this process is and how it is set up."""

    settings: object
    """Frozen; made by the caller of the control side, opaque to it."""
    addresses: tuple[str, ...]
    """Where to listen once told to: host and port as gRPC writes them, already reserved.

    Every listener sets SO_REUSEPORT.
    """
    slot: int
    """0..processes-1; a restarted process has the slot of the one it replaces."""
    processes: int
    grace_s: float
    """How long calls in flight may take to end when the supervisor is gone."""
    orphan_limit_s: float = 60.0
    """How long the process may outlive its supervisor, whatever it hangs on."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Open the port."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Open and warm these versions; what is live stays as it is."""

    change_id: int
    plans: tuple[VersionPlan, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Make prepared versions live, and take others away, at once.

    What was prepared under the id and is not named is let go.
    """

    change_id: int
    live: tuple[Key, ...]
    """Prepared under this id, without an error.

    A version that was live under the same key is replaced and drained.
    """
    retire: tuple[Key, ...] = ()
    """Live until now; drained and closed."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Let go what was prepared under the id."""

    change_id: int


@dataclass(frozen=True, slots=True)
class Publish:
    """What every process answers alike.

    Before the first of these nothing is known of the repository yet.
    """

    sequence: int
    ready: bool
    """What ServerReady answers."""
    index: tuple[IndexEntry, ...]
    trace_settings: Mapping[str, Setting] = field(default_factory=dict)
    log_settings: Mapping[str, Setting] = field(default_factory=dict)
    forced_breakers: Mapping[CircuitKey, Forced] = field(default_factory=dict)
    """Those that do not decide for themselves; some may not exist yet, or not any more."""
    trace_changes: Mapping[str, Setting] = field(default_factory=dict)
    """Of the trace settings those that somebody changed.

    In the others the settings of `Start` hold, which are more exact.
    """


@dataclass(frozen=True, slots=True)
class ReportBreakers:
    """Tell how all breakers stand."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Say not ready wherever health is asked for; serve everything as before."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Take no new calls, finish those in flight within the grace, and exit."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to an `Ask`."""

    request_id: int
    error: GatewayError | None = None
    value: object = None
    """For settings: all that hold now, as a mapping.

    For breakers: a `gateway.records.breaker_state.Survey`.
    """


# Serving to control.


@dataclass(frozen=True, slots=True)
class Listening:
    """The port is open."""

    port: int
    transport: str = ""
    """What serves it, for people."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """This process cannot start, and neither will another with the same settings."""

    text: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """Every version of a change is open and warm, but those named."""

    change_id: int
    errors: tuple[tuple[Key, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """The change holds for every call that arrives from here on."""

    change_id: int


@dataclass(frozen=True, slots=True)
class Retired:
    """What the change replaced or retired has answered its last call and is closed."""

    change_id: int


@dataclass(frozen=True, slots=True)
class Published:
    """The publication holds for every call that arrives from here on."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A caller wants the server changed; `Reply` answers."""

    request_id: int
    change: Change
    model: str = ""
    """Empty for settings: they are the whole server's."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Of a load or unload: the request's, plain values.

    Of settings: those to change, `Setting` values; none to change is a question. Of breakers:
    `keys`, those to set, and `mode`, a `Forced`; none is a question.
    """


@dataclass(frozen=True, slots=True)
class BreakerReport:
    """The answer to `ReportBreakers`."""

    request_id: int
    breakers: Report


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last message: every call has been answered."""


ToServing = (
    Start | Listen | Prepare | Commit | Abort | Publish | ReportBreakers | Drain | Stop | Reply
)
ToControl = (
    Listening
    | StartFailed
    | Prepared
    | Committed
    | Retired
    | Published
    | Ask
    | BreakerReport
    | Stopped
)


def encode(message: object) -> bytes:
    """The message as it stands on a link, length first."""
    body = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Any:
    """The message of a body; the length has been taken off."""
    return pickle.loads(body)  # noqa: S301  # both ends are ours, see above
