"""The options of what all processes log, and how."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gateway.config.access_log_choice import AccessChoice
from gateway.config.option import Option


class LogOptions(msgspec.Struct, frozen=True):
    """What all processes log, and how."""

    title: ClassVar = "how it runs"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Option("debug, info, warning or error; logs go to stderr", "LEVEL"),
    ] = "info"
    log_format: Annotated[
        Literal["human", "json"], Option("human, or json: an object a line", "FORMAT")
    ] = "human"
    access_log: Annotated[
        str,
        Option(
            "a line for each request: off, errors (those that failed, were refused, degraded or "
            "slow), full, or a ratio such as 0.01: those, and that share of the others",
            "WHICH",
            parse=AccessChoice.parse,
        ),
    ] = "off"
