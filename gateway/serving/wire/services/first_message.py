"""A message of a layout that was not met before; in the serving process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.request import InferenceRequest
from gateway.protocol.answers import Choices
from gateway.protocol.layout import Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.route import Route

if TYPE_CHECKING:
    from gateway.serving.routing.live_version import LiveVersion


class FirstMessage:
    """It is parsed, its route is looked up, and its layout learnt where it has one.

    It answers what a `Layout` answers, so that from here on a request is a request. Where it fails,
    it knows how far it got: `id` and `model` are empty until it is parsed, `version` is None until
    its route is found (or where that has several).
    """

    __slots__ = (
        "_catalogue",
        "_id_field",
        "_layouts",
        "choices",
        "id",
        "model",
        "target",
        "version",
    )

    target: Route

    def __init__(self, catalogue: Catalogue, layouts: Layouts[Route]) -> None:
        self._catalogue = catalogue
        self._layouts = layouts
        self._id_field = b""
        self.id = ""
        self.model = ""
        self.version: LiveVersion | None = None
        self.choices: Choices | None = None

    def request(self, message: bytes, arrived: float, deadline: float) -> InferenceRequest:
        """The message as a request; raises InvalidRequest, Unsupported, ModelNotFound, Unavailable.

        `arrived`, `deadline`: seconds of the monotonic clock.
        """
        parsed = ParsedRequest(message)
        self.id = parsed.head.id
        self.model = parsed.head.model_name
        route: Route = self._catalogue.resolve(self.model, parsed.head.model_version)
        self.target = route
        self.version = route.version
        read = route.codec.read(parsed, arrived, deadline, learn=(self._layouts, route))
        self._id_field = read.id_field
        self.choices = read.choices
        return read.request

    def id_field(self, _message: bytes) -> bytes:
        """The id, with its tag, as it goes into the response; empty where it has none."""
        return self._id_field

    def __repr__(self) -> str:
        return f"<FirstMessage {self.id!r} to '{self.model}'>"
