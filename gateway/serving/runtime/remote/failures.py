"""What another server's status means for a batch: whose fault it was, and whether to try again.

Runs in a serving process.
"""

from __future__ import annotations

from typing import Any, Final

import grpc

from gateway.core.errors import DeadlineExpired, GatewayError, InstanceFailed, ModelFailed

_INSTANCE_FAULTS: Final = frozenset(
    {
        # lost, overdue or busy: another instance may well answer
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        # not the server it is taken for: no batch is to blame
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


def failure(
    address: str, code: Any, details: str, *, by_callers_deadline: bool = False
) -> GatewayError:
    """The error of a batch whose call ended with this `grpc.StatusCode`.

    `by_callers_deadline`: the time it had was what its callers had left, so its end is nobody's
    failure.
    """
    text = f"{address}: {code.name}: {details or 'no details'}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and by_callers_deadline:
        return DeadlineExpired(f"Request timeout expired while {address} ran it ({details})")
    if code in _INSTANCE_FAULTS:
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            text += ": it takes no message as large as this batch, bound its rows with max_rows"
        return InstanceFailed(text)
    return ModelFailed(text)


def casts_doubt(code: Any) -> bool:
    """Whether this status is a reason to ask the server how it is.

    It is where the server was lost or overdue, or lacks the model; that it is busy is no news.
    """
    return code in _INSTANCE_FAULTS and code is not grpc.StatusCode.RESOURCE_EXHAUSTED
