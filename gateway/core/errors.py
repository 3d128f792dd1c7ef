"""What can go wrong with a request, sorted by whose fault it is: the one table of errors.

Every process knows it.

A class says by its attributes what follows from it, and inherits what it does not say; nothing else
lists errors::

    class                   status             reason           caller_fault fallback_kind
    GatewayError            INTERNAL           internal
    ├── CallerFault         INVALID_ARGUMENT   not_permitted    yes
    │   ├── InvalidRequest  INVALID_ARGUMENT   invalid_request  yes
    │   ├── ModelNotFound   NOT_FOUND          model_not_found  yes
    │   ├── RequestTooLarge RESOURCE_EXHAUSTED request_too_large yes
    │   ├── Unauthenticated UNAUTHENTICATED    not_permitted    yes
    │   └── NotPermitted    PERMISSION_DENIED  not_permitted    yes
    ├── Overloaded          RESOURCE_EXHAUSTED overloaded                    overloaded
    │   ├── QueueFull       RESOURCE_EXHAUSTED queue_full                    overloaded
    │   └── QuotaExceeded   RESOURCE_EXHAUSTED quota_exceeded   yes          overloaded
    ├── DeadlineExpired     DEADLINE_EXCEEDED  deadline                      deadline
    ├── Unavailable         UNAVAILABLE        unavailable                   unavailable
    │   ├── CircuitBreakerOpen  UNAVAILABLE    circuit_open                  unavailable
    │   └── InstanceFailed  UNAVAILABLE        instance_failed               unavailable
    ├── Unsupported         UNIMPLEMENTED      unsupported      yes
    ├── AnswerTooLarge      RESOURCE_EXHAUSTED answer_too_large yes
    └── ModelFailed         INTERNAL           model_failed                  failed
        └── OutputRefused   INTERNAL           output_refused                failed
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from gateway.core import grpc_codes as status


class GatewayError(Exception):
    """Something that ends a request with a message for its caller."""

    status: ClassVar[int] = status.INTERNAL
    """The gRPC status that ends the call."""
    reason: ClassVar[str] = "internal"
    """OpenTelemetry's `error.type`: the word in counters, spans, logs and the page."""
    caller_fault: ClassVar[bool] = False
    """The caller's own doing: logged at DEBUG, never a warning."""
    fallback_kind: ClassVar[str] = ""
    """As `on` of a fallback names it; empty: no fallback answers it."""


class CallerFault(GatewayError):
    """The request itself is at fault; it never counts against a model."""

    status = status.INVALID_ARGUMENT
    reason = "not_permitted"
    caller_fault = True


class InvalidRequest(CallerFault):
    """A request's content does not fit the model or the protocol."""

    reason = "invalid_request"


class ModelNotFound(CallerFault):
    """No model, or no version of it, bears the name asked for."""

    status = status.NOT_FOUND
    reason = "model_not_found"


class RequestTooLarge(CallerFault):
    """A message is longer than the message limit; nothing of it was looked at.

    `head`: its first bytes, which may tell the model and the request's id; empty where gRPC's core
    refused it, which tells nothing of it.
    """

    status = status.RESOURCE_EXHAUSTED
    reason = "request_too_large"

    def __init__(self, text: str, head: bytes = b"") -> None:
        super().__init__(text)
        self.head = head


class Unauthenticated(CallerFault):
    """A credential is missing or wrong."""

    status = status.UNAUTHENTICATED


class NotPermitted(CallerFault):
    """The caller may not do this to the server."""

    status = status.PERMISSION_DENIED


class Overloaded(GatewayError):
    """There is no room for the request now; try later or elsewhere."""

    status = status.RESOURCE_EXHAUSTED
    reason = "overloaded"
    fallback_kind = "overloaded"


class QueueFull(Overloaded):
    """As many requests, or bytes, wait for the version as may."""

    reason = "queue_full"


class QuotaExceeded(Overloaded):
    """The caller has asked for more than its quota; there may be room for others."""

    reason = "quota_exceeded"
    caller_fault = True


class DeadlineExpired(GatewayError):
    """The request's time was over before it was answered."""

    status = status.DEADLINE_EXCEEDED
    reason = "deadline"
    fallback_kind = "deadline"


class Unavailable(GatewayError):
    """The model or the server cannot answer at the moment: it is loading, unloading or stopping."""

    status = status.UNAVAILABLE
    reason = "unavailable"
    fallback_kind = "unavailable"


class CircuitBreakerOpen(Unavailable):
    """A breaker is open: the model, or all that could run it, is not used until the next try."""

    reason = "circuit_open"


class InstanceFailed(Unavailable):
    """What ran a batch was lost, hung, or could not be reached.

    The batch may be run again elsewhere.
    """

    reason = "instance_failed"


class AnswerTooLarge(GatewayError):
    """The answer is longer than a message may be; the model is well, and so is the batch."""

    status = status.RESOURCE_EXHAUSTED
    reason = "answer_too_large"
    caller_fault = True


class Unsupported(GatewayError):
    """The protocol has it, this server does not."""

    status = status.UNIMPLEMENTED
    reason = "unsupported"
    caller_fault = True


class ModelFailed(GatewayError):
    """The model was run and failed."""

    status = status.INTERNAL
    reason = "model_failed"
    fallback_kind = "failed"


class OutputRefused(ModelFailed):
    """The model answered with values that its configuration says are no answer."""

    reason = "output_refused"


CANCELLED: Final = "cancelled"
INTERNAL: Final = "internal"


def _classes(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _classes(below)


def _status_of_reason() -> dict[str, int]:
    """In the order of the table; where classes share a reason, the last of them says the status."""
    found = {"": status.OK}
    for kind in list(_classes(GatewayError))[1:]:
        found[kind.reason] = kind.status
    return {**found, CANCELLED: status.CANCELLED, INTERNAL: status.INTERNAL}


STATUS_OF_REASON: Final = _status_of_reason()
"""The gRPC status of every reason there is; the first, the empty one, stands for an answer."""
REASONS: Final = tuple(STATUS_OF_REASON)
"""Their places are counted by, within one gateway."""
_INDEX: Final = {reason: index for index, reason in enumerate(REASONS)}


def reason_of(error: BaseException) -> str:
    """The word for an error that ended a request.

    There are three cases: errors of the table say it themselves; any other `Exception` is one that
    nobody expected, `INTERNAL`; what is no `Exception` is a cancellation (asyncio is not imported
    for it: worker and inspection processes do without).
    """
    if isinstance(error, GatewayError):
        return error.reason
    return INTERNAL if isinstance(error, Exception) else CANCELLED


def reason_index(error: BaseException) -> int:
    """The place of its word in `REASONS`."""
    return _INDEX[reason_of(error)]


def status_of(error: BaseException) -> int:
    """The gRPC status that a call ends with which this error ended."""
    if isinstance(error, GatewayError):
        return error.status
    return status.INTERNAL if isinstance(error, Exception) else status.CANCELLED
