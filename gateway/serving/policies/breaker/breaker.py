"""Asks the circuit of a version before a request waits for it."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any

from gateway.core.errors import CircuitOpen
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction
from gateway.records.breaker_state import OPEN
from gateway.serving.policies.breaker.circuit_breaker import Circuit


class Breaker:
    """Lets requests through to `inner` while the circuit lets them.

    What became of them the circuit hears elsewhere: once a batch, where it ran.

    `subject` names what is inside at the beginning of a sentence, like "model 'm' version 3".
    """

    def __init__(self, inner: Predictor, circuit: Circuit, subject: str) -> None:
        self._inner = inner
        self._circuit = circuit
        self._subject = subject

    def predict(self, request: InferenceRequest) -> Coroutine[Any, Any, Prediction]:
        """What the inside answers; CircuitOpen where it is not asked.

        No coroutine of its own while the circuit is closed.
        """
        if self._circuit.closed:
            return self._inner.predict(request)
        return self._guarded(request)

    async def _guarded(self, request: InferenceRequest) -> Prediction:
        ticket = self._circuit.admit()
        if ticket is None:
            raise CircuitOpen(self._refusal())
        try:
            return await self._inner.predict(request)
        finally:
            self._circuit.release(ticket)

    def _refusal(self) -> str:
        retry_in_s = self._circuit.retry_in_s
        if self._circuit.state != OPEN:
            then = "a request that tries it is under way"
        elif math.isinf(retry_in_s):
            then = "until an operator changes that"
        else:
            then = f"next try in {retry_in_s:.1f} s"
        return f"{self._subject} is not asked at the moment: {self._circuit.why_open}; {then}"

    def describe(self) -> Description:
        """The state of the circuit, and the inside."""
        circuit = self._circuit
        return Description(
            "Breaker",
            f"{circuit.state}{' (forced)' if circuit.forced else ''}",
            self._inner.describe(),
        )

    def __repr__(self) -> str:
        return f"<Breaker {self._circuit!r}>"
