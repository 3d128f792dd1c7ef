"""Which gRPC status each error ends a call with: the one table."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core import errors

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

_STATUS: Final[dict[type[errors.GatewayError], int]] = {
    errors.InvalidRequest: INVALID_ARGUMENT,
    errors.ModelNotFound: NOT_FOUND,
    errors.Unauthenticated: UNAUTHENTICATED,
    errors.NotPermitted: PERMISSION_DENIED,
    errors.CallerFault: INVALID_ARGUMENT,
    errors.Overloaded: RESOURCE_EXHAUSTED,
    errors.DeadlineExpired: DEADLINE_EXCEEDED,
    errors.Unavailable: UNAVAILABLE,
    errors.Unsupported: UNIMPLEMENTED,
    errors.ModelFailed: INTERNAL,
    errors.GatewayError: INTERNAL,
}


def status_code(error: errors.GatewayError) -> int:
    """The status number for this error: that of its class, or of the nearest class above."""
    kind = type(error)
    found = _STATUS.get(kind)
    if found is None:
        found = _STATUS[kind] = next(_STATUS[cls] for cls in kind.__mro__ if cls in _STATUS)
    return found


def status_of(error: BaseException) -> int:
    """The status number that a call ends with which this error ended."""
    if isinstance(error, errors.GatewayError):
        return status_code(error)
    return CANCELLED if isinstance(error, asyncio.CancelledError) else INTERNAL
