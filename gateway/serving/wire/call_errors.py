"""How a call ends when its method raised: status, text and trailers, the same on every transport.

Runs in a serving process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from gateway.core.errors import CircuitBreakerOpen, GatewayError, reason_of, status_of
from gateway.core.grpc_codes import CANCELLED, INTERNAL, UNIMPLEMENTED, status_name
from gateway.logs.formats import about
from gateway.logs.rate_limit import RateLimitedLog
from gateway.serving.wire.transport.interface import CallEnded, Metadata

# bytes on the wire; clients refuse headers of 8 KiB altogether, with another status
_LONGEST_TEXT: Final = 4096
_ESCAPED: Final = 3  # bytes that a byte outside printable ASCII takes: %XX
# What opens a circuit breaker outlives a client's retries. Transitions so, a client that retries
# ends at once
# (gRFC A6); a pushback in milliseconds would have it wait through each of its attempts.
_NO_RETRIES: Final[Metadata] = (("grpc-retry-pushback-ms", "-1"),)
_SILENT: Final = 0
# what is true of all that are counted together
_OF_ALL: Final = frozenset({"model", "version", "status", "reason"})
_log = logging.getLogger(__name__)
_limited: Final = RateLimitedLog(_log)
_levels: Final[dict[type[BaseException], int]] = {}


def ending(error: BaseException) -> CallEnded:
    """The end that this error makes of a call. It is logged, unless `tell` has done so before.

    Of what no method should raise, callers read the class only.
    """
    log_error(error)
    if isinstance(error, CallEnded):
        return CallEnded(error.code, fitting_text(error.details), error.trailers)
    if isinstance(error, GatewayError):
        return CallEnded(
            error.status,
            fitting_text(str(error)),
            _NO_RETRIES if isinstance(error, CircuitBreakerOpen) else (),
        )
    if isinstance(error, asyncio.CancelledError):
        return CallEnded(CANCELLED, "the call was cancelled")
    return CallEnded(INTERNAL, f"internal error: {type(error).__name__}")


def log_error(
    error: BaseException,
    model: str = "",
    version: int = 0,
    known: Callable[[], Mapping[str, object]] = dict,
) -> None:
    """Logs what ended a request, once.

    Callers' faults are logged at DEBUG, ours at WARNING, what nobody expected at ERROR with its
    traceback. Of those alike (one class of error, one version) the first is written, then every ten
    seconds how many more there were. `model` and `version` are resolved names; what else is known
    of the request (`gateway.logs.formats.about`) is asked for only where a record is written.
    """
    kind_of = type(error)
    level = _levels.get(kind_of)
    if level is None:
        level = _level(kind_of)
        _levels[kind_of] = level
    if level == _SILENT or not _log.isEnabledFor(level) or getattr(error, "_is_told", False):
        return
    error._is_told = True  # type: ignore[attr-defined]  # every exception has room for it
    unexpected = level == logging.ERROR
    kind: Hashable = (
        (kind_of, _place(error), model, version) if unexpected else (kind_of, model, version)
    )
    words = "" if unexpected else str(error)
    if _limited.counted(kind, words):
        return
    if _limited.full and _limited.counted(kind := (kind_of,), words):
        return
    _log_first(error, kind, level, {"model": model, "version": version, **known()})


def flush_log() -> None:
    """Logs how many there were of what is being counted; to be called before the loop ends."""
    _limited.flush()


def _log_first(
    error: BaseException, kind: Hashable, level: int, known: Mapping[str, object]
) -> None:
    code = error.code if isinstance(error, CallEnded) else status_of(error)
    fields: dict[str, Any] = {**known, "status": status_name(code)}
    if not isinstance(error, CallEnded):
        fields["reason"] = reason_of(error)
    if level == logging.ERROR:
        _log.error("A method failed. This is a bug.", exc_info=error, extra=about(**fields))
        what = f"calls failed with {type(error).__name__} at the same place"
    else:
        _log.log(level, "request failed: %s", error, extra=about(**fields))
        what = "failed for the same reason"
    common = {name: value for name, value in fields.items() if name in _OF_ALL}
    _limited.begin(kind, level, what, common)


def _level(kind: type[BaseException]) -> int:
    if issubclass(kind, asyncio.CancelledError):
        return _SILENT
    if issubclass(kind, CallEnded):
        return logging.DEBUG
    if issubclass(kind, GatewayError):
        return logging.DEBUG if kind.caller_fault else logging.WARNING
    return logging.ERROR


def _place(error: BaseException) -> Hashable:
    """Where the error was raised, as file and line."""
    where = error.__traceback__
    if where is None:
        return None
    while where.tb_next is not None:
        where = where.tb_next
    return where.tb_frame.f_code.co_filename, where.tb_lineno


def without_message() -> CallEnded:
    """The end of a call of a unary method whose client ended its side without a message."""
    # the status of grpcio's own server
    return CallEnded(
        UNIMPLEMENTED, "this method takes exactly one message, and the call came without"
    )


async def unknown_method(path: str, _call: object) -> None:
    """The method of every path that the server does not have."""
    raise CallEnded(UNIMPLEMENTED, f"Method not found: {path}")


def fitting_text(text: str) -> str:
    """The text, or as much of its beginning as fits into a status.

    Characters that UTF-8 cannot encode are replaced.
    """
    encoded = text.encode(errors="replace")
    if len(encoded) * _ESCAPED <= _LONGEST_TEXT:
        return encoded.decode()
    room = _LONGEST_TEXT
    for position, byte in enumerate(encoded):
        # printable ASCII
        room -= 1 if 0x20 <= byte <= 0x7E and byte != ord("%") else _ESCAPED  # noqa: PLR2004
        if room < 0:
            return encoded[:position].decode(errors="ignore") + " ..."
    return encoded.decode()
