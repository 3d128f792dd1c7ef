"""How a call ends when its method raised: status, text and trailers, the same on every transport."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.core.errors import CircuitOpen, GatewayError
from gateway.wire.status import CANCELLED, INTERNAL, UNIMPLEMENTED, status_code
from gateway.wire.transport import CallEnded, Metadata

_LONGEST_TEXT: Final = 4096  # bytes on the wire; clients refuse headers of 8 KiB altogether, with another status
_ESCAPED: Final = 3  # bytes that a byte outside printable ASCII takes: %XX
# What opens a circuit outlives a client's retries. Told so, a client that retries ends at once (gRFC A6); a pushback in milliseconds would have
# it wait through each of its attempts.
_NO_RETRIES: Final[Metadata] = (("grpc-retry-pushback-ms", "-1"),)
_log = logging.getLogger(__name__)


def ending(error: BaseException) -> CallEnded:
    """The end that this error makes of a call. What no method should raise is logged here, and told to the caller by its class only."""
    if isinstance(error, CallEnded):
        return CallEnded(error.code, fitting_text(error.details), error.trailers)
    if isinstance(error, GatewayError):
        return CallEnded(status_code(error), fitting_text(str(error)), _NO_RETRIES if isinstance(error, CircuitOpen) else ())
    if isinstance(error, asyncio.CancelledError):
        return CallEnded(CANCELLED, "the call was cancelled")
    _log.error("A method failed. This is a bug.", exc_info=error)
    return CallEnded(INTERNAL, f"internal error: {type(error).__name__}")


def without_message() -> CallEnded:
    """The end of a call of a unary method whose client ended its side without a message."""
    return CallEnded(UNIMPLEMENTED, "this method takes exactly one message, and the call came without")  # the status of grpcio's own server


def fitting_text(text: str) -> str:
    """The text, or as much of its beginning as fits into a status; what is not Unicode in it is replaced."""
    encoded = text.encode(errors="replace")
    if len(encoded) * _ESCAPED <= _LONGEST_TEXT:
        return encoded.decode()
    room = _LONGEST_TEXT
    for position, byte in enumerate(encoded):
        room -= 1 if 0x20 <= byte <= 0x7E and byte != ord("%") else _ESCAPED  # noqa: PLR2004  # printable ASCII
        if room < 0:
            return encoded[:position].decode(errors="ignore") + " ..."
    return encoded.decode()
