"""The one shape that everything between wire and workers has in a serving process."""

from __future__ import annotations

from typing import Protocol

from gateway.core.request import InferenceRequest, Prediction


class Predictor(Protocol):
    """Answers one request at a time; wraps another Predictor (`inner`) or runs the model."""

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The answer, or a `GatewayError`. Cancellation is never swallowed."""
        ...

    def describe(self) -> Description:
        """What stands here and around what, for people."""
        ...


class Description:
    """A node of the tree of predictors: what it is, and what it wraps."""

    def __init__(self, name: str, detail: str = "", *inner: Description) -> None:
        self.name = name
        self.detail = detail
        self.inner = inner

    def lines(self, indent: str = "") -> list[str]:
        """The tree as text, one line a node."""
        text = f"{self.name}  {self.detail}".rstrip()
        return [indent + text, *(line for node in self.inner for line in node.lines(indent + "  "))]
