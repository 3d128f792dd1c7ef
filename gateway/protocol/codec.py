"""Bytes to requests and predictions to bytes, for one version. Runs in a serving process."""

from __future__ import annotations

import math

from gateway.core.errors import InvalidRequest
from gateway.core.plan import VersionPlan
from gateway.core.request import InferenceRequest
from gateway.protocol.answers import AnswerEncoder, Choices
from gateway.protocol.fields import bytes_tag
from gateway.protocol.layout import Layouts, Target
from gateway.protocol.requests import ParsedRequest, bind, with_request_id
from gateway.protocol.signature import Signature

_ID_FIELD = 3


class VersionCodec:
    """Checks requests for a version and encodes its answers."""

    __slots__ = ("encode", "encoder", "signature")

    def __init__(self, plan: VersionPlan) -> None:
        self.signature = Signature(plan)
        self.encoder = AnswerEncoder(self.signature)
        self.encode = self.encoder.encode

    def read(
        self,
        parsed: ParsedRequest,
        arrived: float,
        deadline: float = math.inf,
        *,
        learn: tuple[Layouts[Target], Target] | None = None,
    ) -> ReadRequest:
        """The request, checked; raises InvalidRequest or Unsupported.

        `learn`: into which layouts a layout worth remembering is learnt, and what it leads to.
        """
        head = parsed.head
        form, inputs = bind(parsed, self.signature)
        try:
            arrays = tuple(item.array(parsed.message) for item in inputs)
            choices = Choices.of(head)
        except InvalidRequest as error:
            raise InvalidRequest(with_request_id(head.id, str(error))) from None
        if learn is not None and choices is None:
            layouts, target = learn
            layouts.learn(parsed, inputs, form, target)
        return ReadRequest(
            InferenceRequest(form, arrays, arrived, deadline, head.id), choices, id_field(head.id)
        )


class ReadRequest:
    """A checked request with what only its answer needs."""

    __slots__ = ("choices", "id_field", "request")

    def __init__(self, request: InferenceRequest, choices: Choices | None, id_field: bytes) -> None:
        self.request = request
        self.choices = choices
        self.id_field = id_field


def id_field(request_id: str) -> bytes:
    """The id as a field of a response; empty for an empty id."""
    data = request_id.encode()
    return bytes_tag(_ID_FIELD, len(data)) + data if data else b""
