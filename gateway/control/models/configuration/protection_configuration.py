"""How one model is meant to be protected, as far as it is configured.

The sections of `model.yaml` that `config.pbtxt` has no words for.

As in `gateway.control.models.configuration.configuration`, a field is None where it is not
configured,
and its docstring then says what holds. What may be written shorter (`breaker: off`, `workers:
process`, a remote's bare address) has a classmethod `parse`, and fields of such a struct are
`Annotated`, which is how `gateway.config.typed_yaml` distinguishes them from structs that are
always
written as mappings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec

from gateway.config.quantities import ByteSize, Duration
from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.protection_values import (
    Address,
    ErrorKinds,
    FallbackVersion,
    FunctionName,
    MetadataKey,
    PositiveDuration,
    Ranges,
    VariableName,
    decode_each,
    decode_part,
)

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a version, or an instance of it, is not used. `breaker: off` is `{enabled: false}`."""

    enabled: bool | None = None
    """None: true."""
    consecutive_failures: NotNegative | None = None
    """Batches that fail one after the other until it opens; 0: however many. None: 5."""
    failure_rate: Share | None = None
    """Share of the batches within `window` that opens it, once there are `minimum_batches`.

    0: no share does. None: 0.5.
    """
    window_s: PositiveDuration | None = msgspec.field(default=None, name="window")
    """None: 30s."""
    minimum_batches: Positive | None = None
    """Batches within `window` below which no share is judged. None: 20."""
    reset_timeout_s: PositiveDuration | None = msgspec.field(default=None, name="reset_timeout")
    """How long it stays open before one request is let through as a probe. None: 5s."""
    slow_call_s: Duration | None = msgspec.field(default=None, name="slow_call")
    """A run that takes longer counts as a failure; 0s and None: none does."""

    @classmethod
    def parse(cls, value: object) -> Breaker:
        """What is given; raises ValueError. YAML reads a bare `off` as false."""
        if isinstance(value, bool) or value in ("on", "off"):
            return cls(enabled=value in (True, "on"))
        return decode_part(value, cls, "off, or a mapping of keys to values")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a batch whose instance failed under it."""

    attempts: Positive | None = None
    """Runs in all; 1: none is repeated. None: 2."""
    budget: Share | None = None
    """Repeated runs as a share of first ones. None: 0.2."""
    budget_floor: NotNegative | None = None
    """Repeated runs a second that may be made whatever the share says. None: 10."""


class AnswerCache(msgspec.Struct, frozen=True, kw_only=True):
    """The last good answers to the same inputs."""

    max_age_s: PositiveDuration = msgspec.field(name="max_age")
    """Older ones are not given."""
    max_bytes: ByteSize | None = None
    """Bound of what it holds in one process. None: 64MiB."""


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try: exactly one of `version`, `model`, `constant`, `function` and `cache`."""

    version: FallbackVersion | None = None
    """Another version of the model; `other`: the newest other live one. None: no version."""
    model: Text | None = None
    """Another model with the same inputs and outputs, its newest live version. None: no model."""
    constant: dict[str, Any] | None = None
    """By output, what every row is given.

    A number, a text, true or false, or nested lists of them without the
    batch axis. None: no constant.
    """
    function: FunctionName | None = None
    """`module:function`, importable by the serving process.

    Arrays by input in, arrays by output out. None: no function.
    """
    cache: AnswerCache | None = None
    """The last good answer to the same inputs. None: no cache."""
    on: ErrorKinds | None = None
    """Which errors it answers: `failed`, `unavailable`, `deadline`, `overloaded`.

    None: failed and unavailable.
    """
    minimum_slack_s: Duration | None = msgspec.field(default=None, name="minimum_slack")
    """It is not tried where the caller's deadline is nearer. 0s and None: it always is."""


class Fallbacks(tuple[Fallback, ...]):
    """Fallbacks in the order in which they are tried."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Those that are given; raises ValueError. YAML reads the bare key `on` as true."""
        return cls(decode_each(value, _fallback, "a list of fallbacks, tried in this order"))


class OutputGuard(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must be like to be given."""

    finite: bool | tuple[Text, ...] | None = None
    """Outputs in which NaN and infinity are failures; true: all of floating point.

    false and None: in none.
    """
    ranges: Ranges | None = None
    """By output, smallest and largest value. None: any."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """How much one caller may ask."""

    key: MetadataKey
    """Metadata key whose value identifies callers."""
    per_second: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    """Requests a second of one caller, over all processes."""
    burst: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None
    """Requests a caller may save up, at least 1; 0 and None: a second's worth."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a version lets in, besides its queue."""

    max_in_flight: NotNegative | None = None
    """Requests accepted and not yet answered, over all processes.

    0 and None: no bound but the queue's.
    """
    max_in_flight_bytes: ByteSize | None = None
    """Their inputs; 0B and None: no bound but the queue's."""
    default_deadline_s: Duration | None = msgspec.field(default=None, name="default_deadline")
    """For requests that come without one; 0s and None: they have none."""
    predict_wait: bool | None = None
    """What cannot be answered before its deadline is refused at arrival. None: true."""
    priority_shares: tuple[Annotated[float, msgspec.Meta(gt=0, le=1)], ...] | None = None
    """Least share of the capacity for each of queue.priority_levels, most urgent first.

    None: half goes by urgency alone, half evenly.
    """
    quota: Quota | None = None
    """None: all callers share one quota."""


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """What runs batches here. `workers: process` is `{kind: process}`."""

    kind: Literal["thread", "process"]
    """`thread`: threads of the serving process, one pool for all models.

    `process`: processes of this version's own.
    """
    count: Positive | None = None
    """Worker processes for each serving process. None: as many as `instances`."""
    batch_timeout_s: PositiveDuration | None = msgspec.field(default=None, name="batch_timeout")
    """A run that takes longer is a hang: the process is replaced. None: 30s."""
    start_timeout_s: PositiveDuration | None = msgspec.field(default=None, name="start_timeout")
    """For opening and warming the model. None: 2m."""
    memory_limit_bytes: ByteSize | None = msgspec.field(default=None, name="memory_limit")
    """Resident memory at which a process is replaced, after its batch; 0B and None: no limit."""
    start_attempts: Positive | None = None
    """Starts that fail one after the other until the version counts as failed. None: 5."""

    @classmethod
    def parse(cls, value: object) -> Workers:
        """What is given; raises ValueError."""
        if isinstance(value, str):
            if value not in ("thread", "process"):
                raise ValueError(
                    f"unknown value '{value}'{did_you_mean(value, ('thread', 'process'))}"
                )
            value = {"kind": value}
        return decode_part(value, cls, "thread, process, or a mapping of keys to values")


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """Another server of the Open Inference Protocol that runs batches of the model.

    A bare address is `{address: ADDRESS}`.
    """

    address: Address
    """What gRPC dials: HOST:PORT, dns:///NAME:PORT, unix:PATH."""
    model: Text | None = None
    """Its name over there. None: the same."""
    version: Positive | Text | None = None
    """None: the newest over there."""
    tls_ca: Text | None = None
    """File (PEM) in the model's folder with the roots that its certificate must lead to.

    None: plaintext.
    """
    token_env: VariableName | None = None
    """Environment variable of the gateway whose value is sent as `authorization: Bearer`.

    None: nothing is sent.
    """
    concurrent_batches: Positive | None = None
    """Batches that it is given at the same time by one serving process. None: 8."""
    timeout_s: PositiveDuration | None = msgspec.field(default=None, name="timeout")
    """For batches whose callers have no deadline, or a later one. None: 30s."""
    max_rows: NotNegative | None = None
    """Rows that it takes in one request; 0 and None: as many as a batch may have here."""


class Remotes(tuple[Remote, ...]):
    """Remote servers, in no order."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Those that are given.

        Raises ValueError, which never shows what is written beside an address.
        """
        return cls(decode_each(value, _remote, "a list of addresses, or of mappings with one"))


class Protections(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a model's protection, and of what runs it."""

    breaker: Annotated[Breaker, "or off"] = Breaker()
    retry: Retry = Retry()
    fallback: Fallbacks | None = None
    """None: none."""
    output_guard: OutputGuard = OutputGuard()
    admission: Admission = Admission()
    workers: Annotated[Workers, "or its kind"] | None = None
    """None: thread."""
    remotes: Remotes | None = None
    """None: none."""
    local: bool | None = None
    """false: only the remotes run it. None: true."""


def _fallback(value: Any) -> Fallback:
    if isinstance(value, Mapping):
        value = {"on" if key is True else key: item for key, item in value.items()}
    return decode_part(
        value, Fallback, "a mapping with one of version, model, constant, function and cache"
    )


def _remote(value: Any) -> Remote:
    if isinstance(value, str):
        value = {"address": value}
    if isinstance(value, Mapping) and "token" in value:
        raise ValueError(
            "a token must not stand in a file: put it into an environment variable of the gateway "
            "and name that with token_env"
        )
    return decode_part(value, Remote, "an address, or a mapping with one")
