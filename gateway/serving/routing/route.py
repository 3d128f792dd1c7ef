"""What a model name, or one with a version, leads to; in the serving process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.predictor import Predictor
from gateway.protocol.codec import VersionCodec

if TYPE_CHECKING:
    from gateway.serving.routing.live_version import LiveVersion


class Route(Predictor, Protocol):
    """A Predictor whose predictions say which live version served them.

    For a model with one version that is the version itself, at no cost. A route over several picks
    one for each request: all of them have the same inputs and outputs.
    """

    @property
    def codec(self) -> VersionCodec:
        """Reads and checks the requests of the route."""
        ...

    @property
    def version(self) -> LiveVersion | None:
        """The version that every request goes to; None where that depends on the request."""
        ...
