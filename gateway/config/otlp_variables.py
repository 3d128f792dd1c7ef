"""What OpenTelemetry's OTLP exporters read from the environment themselves.

The main process looks at it before any exporter is made, so a wrong value is reported at the start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

GRPC = "grpc"
HTTP = "http/protobuf"
HTTP_PORT: Final = 4318
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_HOST: Final = r"(?:\[[\da-f:.]+(?:%[\w.-]+)?\]|[\w.-]+)"
_URL: Final = re.compile(rf"https?://{_HOST}(?::(?P<port>\d+))?(?:/[^\s?#]*)?", re.IGNORECASE)
_ADDRESS: Final = re.compile(rf"{_HOST}:(?P<port>\d+)", re.IGNORECASE)
_URL_FORM: Final = "http://HOST[:PORT] or https://HOST[:PORT], with a path or without"
_ADDRESS_FORM: Final = "http://HOST[:PORT], https://HOST[:PORT] or, over gRPC, HOST:PORT"
_MOST_PORT: Final = 65535
_COMPRESSIONS: Final = {GRPC: ("none", "gzip"), HTTP: ("none", "gzip", "deflate")}
_FILES: Final = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")


class Signal(NamedTuple):
    """What is exported over OTLP."""

    name: str
    """`TRACES` or `METRICS`."""
    protocol: str


def fault(name: str, expected: str, text: str) -> ValueError:
    """The error for a wrong value.

    It names an option (`--...`) as faults of the command line do, and a variable in a sentence.
    """
    return ValueError(
        f"{name}: expected {expected}, got {text!r}"
        if name.startswith("--")
        else f"{name} must be {expected}, not {text!r}"
    )


def variable_of(seen: Mapping[str, str], signal: str, what: str) -> str:
    """The variable that holds for a signal (`TRACES`, `METRICS`).

    It is the signal's own, else that of all signals; empty where neither is there.
    """
    return next(
        (name for name in (f"{_PREFIX}{signal}_{what}", f"{_PREFIX}{what}") if name in seen), ""
    )


def endpoint_port(name: str, text: str, *, address: bool = False) -> int | None:
    """The port of an endpoint; None: it names none. `address`: HOST:PORT will do.

    Raises ValueError, which quotes nothing that may be a password.
    """
    if "@" in unquote(text):
        raise ValueError(
            f"{name}: a user name or password must not stand in an endpoint, which is written to "
            f"logs; send it as a header, by {_PREFIX}HEADERS (authorization=Basic%20...)"
        )
    found = _URL.fullmatch(text) or (_ADDRESS.fullmatch(text) if address else None)
    port = int(found["port"]) if found is not None and found["port"] else None
    if found is None or (port is not None and not 0 < port <= _MOST_PORT):
        raise fault(name, _ADDRESS_FORM if address else _URL_FORM, text)
    return port


def positive(unit: str, text: str) -> float:
    """A number of units; raises ValueError, which says what was expected."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"{unit}, more than 0")
    return value


def check_signal(seen: Mapping[str, str], signal: Signal) -> None:
    """Raises ValueError for the first of an exporter's variables that it could do nothing with."""
    if (variable := variable_of(seen, signal.name, "ENDPOINT")) and signal.protocol == HTTP:
        endpoint_port(variable, seen[variable])
    if variable := variable_of(seen, signal.name, "TIMEOUT"):
        try:
            positive("seconds", seen[variable])
        except ValueError as error:
            raise fault(variable, str(error), seen[variable]) from None
    if variable := variable_of(seen, signal.name, "COMPRESSION"):
        known = _COMPRESSIONS[signal.protocol]
        if seen[variable].lower() not in known:
            raise fault(variable, f"{' or '.join(known)} over {signal.protocol}", seen[variable])
    for what in _FILES:
        if variable := variable_of(seen, signal.name, what):
            _check_file(variable, seen[variable])


def _check_file(variable: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise ValueError(
            f"{variable} must be a file that can be read, not {path!r}: {error.strerror}"
        ) from None


def without_none(seen: Mapping[str, str], signals: Iterable[Signal]) -> dict[str, str | None]:
    """What changes so that no exporter over gRPC meets the compression `none`.

    It does not know the word. Each signal then has a variable of its own, or none.
    """
    compressions = {
        signal: seen.get(variable_of(seen, signal.name, "COMPRESSION"), "").lower()
        for signal in signals
    }
    if not any(signal.protocol == GRPC and word == "none" for signal, word in compressions.items()):
        return {}
    general: dict[str, str | None] = {f"{_PREFIX}COMPRESSION": None}
    return general | {
        f"{_PREFIX}{signal.name}_COMPRESSION": None if word in ("", "none") else word
        for signal, word in compressions.items()
    }
