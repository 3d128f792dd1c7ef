"""Why requests were not answered: one short word for each kind of error, for counters, spans and logs."""

from __future__ import annotations

from typing import Final

from gateway.core import errors

_WORDS: Final = (
    # The more special first: the first class that fits names it.
    (errors.CircuitOpen, "circuit_open"),
    (errors.InstanceFailed, "instance_failed"),
    (errors.OutputRefused, "output_refused"),
    (errors.InvalidRequest, "invalid_request"),
    (errors.ModelNotFound, "model_not_found"),
    (errors.CallerFault, "not_permitted"),
    (errors.QuotaExceeded, "quota_exceeded"),
    (errors.Overloaded, "overloaded"),
    (errors.DeadlineExpired, "deadline"),
    (errors.Unavailable, "unavailable"),
    (errors.Unsupported, "unsupported"),
    (errors.ModelFailed, "model_failed"),
)

CANCELLED: Final = "cancelled"
INTERNAL: Final = "internal"

REASONS: Final = ("", *(word for _, word in _WORDS), CANCELLED, INTERNAL)
"""All there are; the first stands for an answer. Their places are counted by, within one gateway."""

_INDEX: Final[dict[type, int]] = {}


def reason_index(error: BaseException) -> int:
    """The place in `REASONS` of an error that ended a request; INTERNAL for what nobody expected."""
    found = _INDEX.get(type(error))
    if found is None:
        word = next((word for kind, word in _WORDS if isinstance(error, kind)), INTERNAL)
        found = _INDEX[type(error)] = REASONS.index(word)
    return found
