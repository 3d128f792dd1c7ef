"""Messages of the control link, between the control process and a serving process.

A message is a frozen struct; how it is written on the link stands in `gateway.ipc.framing`. The
messages of a serving process's life, in their order::

    control                                  serving
    Start            ->
    Listen           ->                      <- Listening      (or StartFailed)
    Publish          ->                      <- Published
    Prepare          ->                      <- Prepared       opened and warmed, nothing is live
    Commit or Abort  ->                      <- Committed      live; what it replaced takes no new
                                                               calls
                                             <- Retired        what it replaced is drained
    Reply            ->                      <- Ask            a caller wants the server changed
    ReportBreakers   ->                      <- BreakerReport
    Drain            ->                                        not ready any more, still serving
    Stop             ->                      <- Stopped
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.plan import Key, VersionPlan
from gateway.core.setting_value import Setting
from gateway.ipc.repository_index import IndexEntry
from gateway.records.breaker_state import BreakerKey, Forced, Report


class Change(StrEnum):
    """What a caller may ask of the control process."""

    LOAD = "load"
    UNLOAD = "unload"
    TRACE_SETTINGS = "trace_settings"
    LOG_SETTINGS = "log_settings"
    BREAKERS = "breakers"
    MODELS = "models"
    """No change: how the versions of all models stand."""
    RELOAD = "reload"


# Control to serving.


class Start(msgspec.Struct, frozen=True):
    """The first message: who this process is and how it is set up."""

    settings: object
    """Frozen; made by the control process's caller, and opaque to the control process."""
    addresses: tuple[str, ...]
    """Where to listen after `Listen`: host and port as gRPC writes them, reserved already.

    Every listener sets SO_REUSEPORT.
    """
    slot: int
    """0..processes-1; a restarted process has the slot of the one it replaces."""
    processes: int
    grace_s: float
    """Seconds that calls in flight have to end when the supervisor is gone."""
    orphan_limit_s: float = 60.0
    """Seconds that the process may outlive its supervisor, even where it hangs."""


class Listen(msgspec.Struct, frozen=True):
    """Open the port."""


class Prepare(msgspec.Struct, frozen=True):
    """Open and warm these versions; what is live stays as it is."""

    change_id: int
    plans: tuple[VersionPlan, ...]


class Commit(msgspec.Struct, frozen=True):
    """Make prepared versions live and take others away, in one step.

    What was prepared under the id and is not named is closed.
    """

    change_id: int
    live: tuple[Key, ...]
    """Prepared under this id, without an error.

    A version that was live under the same key is replaced and drained.
    """
    retire: tuple[Key, ...] = ()
    """Versions that were live until now; they are drained and closed."""


class Abort(msgspec.Struct, frozen=True):
    """Close what was prepared under the id."""

    change_id: int


class Publish(msgspec.Struct, frozen=True):
    """What every process answers alike; before the first one, nothing is known of any model."""

    sequence: int
    ready: bool
    """What ServerReady answers."""
    index: tuple[IndexEntry, ...]
    trace_settings: Mapping[str, Setting] = msgspec.field(default_factory=dict)
    log_settings: Mapping[str, Setting] = msgspec.field(default_factory=dict)
    forced_breakers: Mapping[BreakerKey, Forced] = msgspec.field(default_factory=dict)
    """Circuit breakers that an operator has forced; some may not exist yet, or not any more."""
    trace_changes: Mapping[str, Setting] = msgspec.field(default_factory=dict)
    """The trace settings that somebody changed.

    For the others the settings of `Start` hold, which are more exact.
    """


class ReportBreakers(msgspec.Struct, frozen=True):
    """Report the state of every circuit breaker."""

    request_id: int


class Drain(msgspec.Struct, frozen=True):
    """Answer health checks with not ready; serve everything as before."""


class Stop(msgspec.Struct, frozen=True):
    """Take no new calls, finish those in flight within the grace, and exit."""

    grace_s: float


class Reply(msgspec.Struct, frozen=True):
    """The answer to an `Ask`."""

    request_id: int
    error: GatewayError | None = None
    value: object = None
    """For settings, a mapping of all that hold now; for breakers, a `breaker_state.Survey`,
    or warnings (texts) where some were set.

    For models, `VersionReport`s of all versions; for a reload, of those that stand otherwise.
    """


# Serving to control.


class Listening(msgspec.Struct, frozen=True):
    """The port is open."""

    port: int
    transport: str = ""
    """Which transport serves it, in words for people."""


class StartFailed(msgspec.Struct, frozen=True):
    """This process cannot start, and neither will another with the same settings."""

    text: str


class Prepared(msgspec.Struct, frozen=True):
    """Every version of a change is open and warm, except for those named in `errors`."""

    change_id: int
    errors: tuple[tuple[Key, str], ...] = ()


class Committed(msgspec.Struct, frozen=True):
    """The change holds for every call that arrives from here on."""

    change_id: int


class Retired(msgspec.Struct, frozen=True):
    """What the change replaced or retired has answered its last call and is closed."""

    change_id: int


class Published(msgspec.Struct, frozen=True):
    """The publication holds for every call that arrives from here on."""

    sequence: int


class Ask(msgspec.Struct, frozen=True):
    """A caller wants the server changed; `Reply` answers."""

    request_id: int
    change: Change
    model: str = ""
    """Empty for settings: they are the whole server's."""
    parameters: Mapping[str, object] = msgspec.field(default_factory=dict)
    """There are three cases.

    For a load or an unload: the request's own parameters, as plain values. For settings: those to
    change (`Setting` values); none only asks for them. For breakers: `keys`, those to set, and
    `mode`, a `Forced`; none only asks for their states.
    """


class BreakerReport(msgspec.Struct, frozen=True):
    """The answer to `ReportBreakers`."""

    request_id: int
    breakers: Report


class Stopped(msgspec.Struct, frozen=True):
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
