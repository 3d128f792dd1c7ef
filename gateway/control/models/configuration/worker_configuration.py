"""What runs a model's batches, as far as it is configured.

Read in the main process. `gateway.control.models.configuration.execution_configuration` says how
sections are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from gateway.config.option import Option
from gateway.config.quantities import ByteSize
from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.bounded_values import NotNegative, Positive, Text
from gateway.control.models.configuration.protection_values import (
    Address,
    PositiveDuration,
    VariableName,
    decode_each,
    decode_part,
)
from gateway.core.protection import ProcessWorkersPlan, RemotePlan


class Workers(msgspec.Struct, frozen=True, kw_only=True):
    """What runs batches here. `workers: process` is `{kind: process}`."""

    PLAN: ClassVar = ProcessWorkersPlan
    kind: Annotated[
        Literal["thread", "process"],
        Option(
            "`thread`: threads of the serving process, one pool for all models; `process`: "
            "processes of this version's own, whose crashes and hangs end nothing else"
        ),
    ]
    count: Annotated[
        Positive | None,
        Option(
            "worker processes for each serving process, each with one batch at a time; at least 1",
            default="as many as `instances`",
        ),
    ] = None
    batch_timeout_s: Annotated[
        PositiveDuration | None,
        Option("a run that takes longer is a hang, and the process is replaced; more than 0s"),
    ] = msgspec.field(default=None, name="batch_timeout")
    start_timeout_s: Annotated[
        PositiveDuration | None, Option("for opening and warming the model; more than 0s")
    ] = msgspec.field(default=None, name="start_timeout")
    memory_limit_bytes: Annotated[
        ByteSize | None,
        Option("resident memory at which a process is replaced, after its batch; 0B: no limit"),
    ] = msgspec.field(default=None, name="memory_limit")
    start_attempts: Annotated[
        Positive | None,
        Option(
            "starts that fail one after the other until the version counts as failed; at least 1"
        ),
    ] = None

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

    PLAN: ClassVar = RemotePlan
    address: Annotated[
        Address,
        Option(
            "another server of the Open Inference Protocol that runs batches of this model: "
            "`HOST:PORT`, `dns:///NAME:PORT` or `unix:PATH`; a bare address is a whole entry"
        ),
    ]
    model: Annotated[Text | None, Option("its name over there", default="the same")] = None
    version: Annotated[
        Positive | Text | None, Option("its version over there", default="the newest over there")
    ] = None
    tls_ca: Annotated[
        Text | None,
        Option(
            "file (PEM) in the model's folder with the roots that the remote's certificate must "
            "lead to",
            default="plaintext",
        ),
    ] = None
    token_env: Annotated[
        VariableName | None,
        Option(
            "environment variable of the gateway whose value is sent as `authorization: Bearer`; "
            "the token itself must not stand in the file",
            default="nothing is sent",
        ),
    ] = None
    concurrent_batches: Annotated[
        Positive | None,
        Option("batches that it is given at the same time by one serving process; at least 1"),
    ] = None
    timeout_s: Annotated[
        PositiveDuration | None,
        Option("for batches whose callers have no deadline, or a later one; more than 0s"),
    ] = msgspec.field(default=None, name="timeout")
    max_rows: Annotated[
        NotNegative | None,
        Option("rows that it is given in one request at most; 0: as many as its ModelConfig has"),
    ] = None


class Remotes(tuple[Remote, ...]):
    """Remote servers, in no order."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Those that are given.

        Raises ValueError, which never shows what is written beside an address.
        """
        return cls(decode_each(value, _remote, "a list of addresses, or of mappings with one"))


def _remote(value: Any) -> Remote:
    if isinstance(value, str):
        value = {"address": value}
    if isinstance(value, Mapping) and "token" in value:
        raise ValueError(
            "a token must not stand in a file: put it into an environment variable of the gateway "
            "and name that with token_env"
        )
    return decode_part(value, Remote, "an address, or a mapping with one")
