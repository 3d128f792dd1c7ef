"""Refuses at once where no instance is left that could run a request.

A layer of a version's stack in every serving process.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from gateway.core.errors import CircuitBreakerOpen
from gateway.core.predictor import Description, Predictor
from gateway.core.request import InferenceRequest, Prediction


class Reachable:
    """A Predictor that asks before queueing whether any instance is left.

    `unreachable` says why none is, or nothing.
    """

    def __init__(self, inner: Predictor, unreachable: Callable[[], str], subject: str) -> None:
        self._inner = inner
        self._unreachable = unreachable
        self._subject = subject

    def predict(self, request: InferenceRequest) -> Coroutine[Any, Any, Prediction]:
        """What the inside answers; raises CircuitBreakerOpen where no instance could run it."""
        if why := self._unreachable():
            raise CircuitBreakerOpen(f"no instance can run {self._subject}: {why}")
        return self._inner.predict(request)

    def describe(self) -> Description:
        """What it asks, and the inside."""
        return Description(
            "Reachable",
            "refuses while every instance is down or its circuit breaker is open",
            self._inner.describe(),
        )

    def __repr__(self) -> str:
        return f"<Reachable {self._subject}: {self._unreachable() or 'yes'}>"
