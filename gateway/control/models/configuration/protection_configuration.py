"""How one model is meant to be protected, as far as it is configured.

Read in the main process: the sections of `model.yaml` that `config.pbtxt` has no words for.
`gateway.control.models.configuration.execution_configuration` says how sections are written; what
may be written shorter (`breaker: off`, a remote's bare address) has a classmethod `parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import msgspec

from gateway.config.option import Option
from gateway.config.quantities import ByteSize, Duration
from gateway.control.models.configuration.admission_configuration import Admission
from gateway.control.models.configuration.bounded_values import NotNegative, Positive, Share, Text
from gateway.control.models.configuration.protection_values import (
    ErrorKinds,
    FallbackVersion,
    FunctionName,
    PositiveDuration,
    Ranges,
    decode_each,
    decode_part,
)
from gateway.control.models.configuration.worker_configuration import Remotes, Workers
from gateway.core.protection import BreakerPlan, FallbackLink, RetryPlan


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a version, or an instance of it, is not used. `breaker: off` is `{enabled: false}`."""

    PLAN: ClassVar = BreakerPlan
    enabled: Annotated[
        bool | None,
        Option(
            "a version, or an instance of it, that fails is not used for a while; `breaker: "
            "off` says false"
        ),
    ] = None
    consecutive_failures: Annotated[
        NotNegative | None,
        Option("batches that fail one after the other until it opens; 0: however many"),
    ] = None
    failure_rate: Annotated[
        Share | None,
        Option("share of the batches within `window` that opens it, 0 to 1; 0: no share does"),
    ] = None
    window_s: Annotated[
        PositiveDuration | None, Option("how far back the share looks; more than 0s")
    ] = msgspec.field(default=None, name="window")
    minimum_batches: Annotated[
        Positive | None,
        Option("batches within `window` below which no share is judged; at least 1"),
    ] = None
    reset_timeout_s: Annotated[
        PositiveDuration | None,
        Option("how long it stays open before one request is let through as a probe; more than 0s"),
    ] = msgspec.field(default=None, name="reset_timeout")
    slow_call_s: Annotated[
        Duration | None, Option("a run that takes longer counts as a failure; 0s: none does")
    ] = msgspec.field(default=None, name="slow_call")

    @classmethod
    def parse(cls, value: object) -> Breaker:
        """What is given; raises ValueError. YAML reads a bare `off` as false."""
        if isinstance(value, bool) or value in ("on", "off"):
            return cls(enabled=value in (True, "on"))
        return decode_part(value, cls, "off, or a mapping of keys to values")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a batch whose instance was lost while it ran."""

    PLAN: ClassVar = RetryPlan
    attempts: Annotated[
        Positive | None,
        Option("runs in all of a batch whose instance failed under it; 1: none is repeated"),
    ] = None
    budget: Annotated[
        Share | None,
        Option(
            "repeated runs as a share of first ones, 0 to 1, so that retries cannot overload the "
            "model themselves"
        ),
    ] = None
    budget_floor: Annotated[
        NotNegative | None,
        Option("repeated runs a second that may be made whatever the share says"),
    ] = None


class AnswerCache(msgspec.Struct, frozen=True, kw_only=True):
    """The last good answers to the same inputs."""

    max_age_s: Annotated[PositiveDuration, Option("older answers are not given; more than 0s")] = (
        msgspec.field(name="max_age")
    )
    max_bytes: Annotated[
        ByteSize | None,
        Option("bound of what it holds in one process; more than 0B", default="64MiB"),
    ] = None


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the chain: exactly one of `version`, `model`, `constant`, `function`, `cache`."""

    PLAN: ClassVar = FallbackLink
    version: Annotated[
        FallbackVersion | None,
        Option(
            "another version of the model, or `other`: the newest other live one; it must be "
            "live (`versions`); its own chain leaves itself out",
            default="one of these five",
        ),
    ] = None
    model: Annotated[
        Text | None,
        Option(
            "another model with the same inputs and outputs, its newest live version",
            default="one of these five",
        ),
    ] = None
    constant: Annotated[
        dict[str, Any] | None,
        Option(
            "by output, what every row is given, without the batch axis (the whole tensor where "
            "the version is not batched); for all outputs",
            default="one of these five",
        ),
    ] = None
    function: Annotated[
        FunctionName | None,
        Option(
            "`module:function`, importable by the serving process: arrays by input in, arrays by "
            "output out",
            default="one of these five",
        ),
    ] = None
    cache: Annotated[
        AnswerCache | None,
        Option("the last good answer to the same inputs", default="one of these five"),
    ] = None
    on: Annotated[
        ErrorKinds | None,
        Option(
            "which errors it answers: `failed` (the model failed, or the output guard refused "
            "its answer), `unavailable` (breaker open, instances lost), `deadline` "
            "(time ran out while it waited), `overloaded` (no room)",
            default="`[failed, unavailable]`",
        ),
    ] = None
    minimum_slack_s: Annotated[
        Duration | None, Option("it is not tried where the caller's deadline is nearer")
    ] = msgspec.field(default=None, name="minimum_slack")


class Fallbacks(tuple[Fallback, ...]):
    """Fallbacks in the order in which they are tried."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Those that are given; raises ValueError. YAML reads the bare key `on` as true."""
        return cls(decode_each(value, _fallback, "a list of fallbacks, tried in this order"))


class OutputGuard(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer must be like, so that callers may have it."""

    finite: Annotated[
        bool | tuple[Text, ...] | None,
        Option(
            "outputs in which NaN and infinity are failures; true: all of floating point; false: "
            "none",
            default="false",
        ),
    ] = None
    ranges: Annotated[
        Ranges | None,
        Option(
            "by output, its smallest and its largest value; any other, and NaN, is a failure",
            default="any value",
        ),
    ] = None


class Protections(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of a model's protection, and of what runs it."""

    breaker: Breaker = Breaker()
    retry: Retry = Retry()
    fallback: Fallbacks | None = None
    """None: none."""
    output_guard: OutputGuard = OutputGuard()
    admission: Admission = Admission()
    workers: Annotated[
        Workers | None,
        Option(
            "what runs batches here: `thread`, `process`, or a mapping with `kind`",
            default="`thread`",
        ),
    ] = None
    remotes: Remotes | None = None
    """None: none."""
    local: Annotated[
        bool | None,
        Option(
            "false: nothing is run here, only by the remotes; the model file is still needed, "
            "for what its inputs and outputs are",
            default="true",
        ),
    ] = None


def _fallback(value: Any) -> Fallback:
    if isinstance(value, Mapping):
        value = {"on" if key is True else key: item for key, item in value.items()}
    return decode_part(
        value, Fallback, "a mapping with one of version, model, constant, function and cache"
    )
