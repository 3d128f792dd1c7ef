"""What a serving process records of a request beside its cell.

Most requests have nothing there. One that failed has the error, an answer of a fallback has its
reason, and any has what its cell has no room for.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.core.errors import CircuitBreakerOpen, GatewayError
from gateway.core.request import BREAKER_REFUSED, Caller, InferenceRequest, Prediction, RequestEvent
from gateway.core.span_context import SpanContext
from gateway.logs.redaction import without_values
from gateway.records.cells import REQUEST_ID_BYTES
from gateway.records.counted_version import CountedVersion
from gateway.records.events import Detail

NOTHING: Final = Detail()
MOST_DETAILS_PER_S: Final = 1000
"""How many failures a second of one process have a detail; of more, their reasons must do."""
_LONGEST_ERROR: Final = 1000  # characters


class Failure:
    """A request that was not answered.

    What is not known of it stays empty: it may have failed before it was read, or found no version.
    """

    __slots__ = (
        "arrived",
        "caller",
        "error",
        "model",
        "request",
        "request_id",
        "status",
        "version",
    )

    def __init__(self, caller: Caller, error: BaseException, status: int, arrived: float) -> None:
        """`status`: the gRPC status its caller got; `arrived`: seconds of the monotonic clock."""
        self.caller = caller
        self.error = error
        self.status = status
        self.arrived = arrived
        self.request: InferenceRequest | None = None
        self.version: CountedVersion | None = None
        self.request_id = ""
        self.model = ""


class Allowance:
    """Allows so many a second."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = per_s
        self._until = 0.0

    def acquire(self, now: float) -> bool:
        """Whether one more is allowed; `now`: seconds of any clock that goes forward."""
        if now >= self._until:
            self._until = now + 1.0
            self._left = self._per_s
        self._left -= 1
        return self._left >= 0

    def __repr__(self) -> str:
        return f"<Allowance {max(self._left, 0)} of {self._per_s} left>"


def failure_detail(
    failure: Failure, parent: SpanContext | None, request_id: bytes, now: float
) -> Detail:
    """The detail of a failure, with its reason.

    `parent`: the caller's span; `now`: seconds of the monotonic clock.
    """
    error = _error_text(failure.error)
    return Detail(
        error=error,
        retries=failure.request.retries if failure.request is not None else 0,
        request_id=_long_id(request_id),
        tracestate=parent.tracestate if parent is not None else "",
        model=failure.model[:200],
        events=_events_of(failure, error, now),
    )


def answer_detail(
    request: InferenceRequest,
    prediction: Prediction,
    parent: SpanContext | None,
    request_id: bytes,
) -> Detail:
    """The detail of an answer; NOTHING where it is like any other."""
    if not (request.retries or prediction.degraded):
        return rest_detail(parent, request_id)
    parameters = prediction.parameters or {}
    return Detail(
        served_by=str(parameters.get("served_by", "")),
        fallback_reason=without_values(prediction.degraded),
        retries=request.retries,
        request_id=_long_id(request_id),
        tracestate=parent.tracestate if parent is not None else "",
        events=_without_values(request.events),
    )


def rest_detail(parent: SpanContext | None, request_id: bytes) -> Detail:
    """What a cell has no room for: a long id, and the caller's trace state; mostly NOTHING."""
    tracestate = parent.tracestate if parent is not None else ""
    if tracestate or len(request_id) > REQUEST_ID_BYTES:
        return Detail(request_id=_long_id(request_id), tracestate=tracestate)
    return NOTHING


def _long_id(request_id: bytes) -> str:
    """The id where its cell has no room for all of it, else empty."""
    return request_id.decode(errors="replace") if len(request_id) > REQUEST_ID_BYTES else ""


def _error_text(error: BaseException) -> str:
    """The error text its caller got; of what nobody expected that is no more than its class."""
    if isinstance(error, GatewayError):
        # cut afterwards: what `without_values` looks for stands at the beginning
        return without_values(str(error))[:_LONGEST_ERROR]
    return (
        ""
        if isinstance(error, asyncio.CancelledError)
        else f"internal error: {type(error).__name__}"
    )


def _events_of(failure: Failure, error: str, now: float) -> tuple[RequestEvent, ...]:
    """What was decided about it; a breaker's refusal that met no fallback is all of it."""
    events = failure.request.events if failure.request is not None else ()
    if isinstance(failure.error, CircuitBreakerOpen) and not events:
        return ((int(now * 1e9), BREAKER_REFUSED, error[:200]),)
    return _without_values(events)


def _without_values(events: tuple[RequestEvent, ...]) -> tuple[RequestEvent, ...]:
    return tuple((at_ns, what, without_values(text)) for at_ns, what, text in events)
