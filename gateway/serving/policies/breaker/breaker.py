"""Asks the circuit breaker of a version before a request is queued for it.

A layer of a version's stack in every serving process.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any

from gateway.core.errors import CircuitBreakerOpen
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction
from gateway.records.breaker_state import OPEN
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker


class BreakerPolicy:
    """Lets requests through to `inner` while the circuit breaker admits them.

    Outcomes are reported to the circuit breaker elsewhere: once a batch, where it ran.

    `subject` names what is inside at the beginning of a sentence, like "model 'm' version 3".
    """

    def __init__(self, inner: Predictor, breaker: CircuitBreaker, subject: str) -> None:
        self._inner = inner
        self._breaker = breaker
        self._subject = subject

    def predict(self, request: InferenceRequest) -> Coroutine[Any, Any, Prediction]:
        """What the inside answers; CircuitBreakerOpen where it is not asked.

        No coroutine of its own while the circuit breaker is closed.
        """
        if self._breaker.closed:
            return self._inner.predict(request)
        return self._guarded(request)

    async def _guarded(self, request: InferenceRequest) -> Prediction:
        ticket = self._breaker.admit()
        if ticket is None:
            raise CircuitBreakerOpen(self._refusal())
        try:
            return await self._inner.predict(request)
        finally:
            self._breaker.release(ticket)

    def _refusal(self) -> str:
        retry_in_s = self._breaker.retry_in_s
        if self._breaker.state != OPEN:
            then = "a probe request is under way"
        elif math.isinf(retry_in_s):
            then = "until an operator changes that"
        else:
            then = f"retrying in {retry_in_s:.1f} s"
        return (
            f"circuit breaker for {self._subject} is {self._breaker.state}: "
            f"{self._breaker.why_open}; {then}"
        )

    def describe(self) -> Description:
        """The state of the circuit breaker, and the inside."""
        breaker = self._breaker
        return Description(
            "Breaker",
            f"{breaker.state}{' (forced)' if breaker.forced else ''}",
            self._inner.describe(),
        )

    def __repr__(self) -> str:
        return f"<BreakerPolicy {self._breaker!r}>"
