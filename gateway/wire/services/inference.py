"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import time

from gateway.protocol.layout import Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.routing.catalogue import Catalogue
from gateway.wire.transport import Call


class InferenceService:
    """Answers inference requests with the versions of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._layouts = Layouts()
        catalogue.on_change(self._layouts.clear)

    async def model_infer(self, call: Call, message: bytes) -> bytes:
        """ModelInfer. A message laid out like one met before takes the short way."""
        layout = self._layouts.find(message)
        if layout is None:
            return await self._infer_anew(call, message)
        live = layout.target
        id_field = layout.id_field(message)
        prediction = await live.predict(layout.request(message, time.monotonic(), call.deadline))
        encoded: bytes = live.codec.encode(id_field, layout.form.outputs, prediction)
        return encoded

    async def _infer_anew(self, call: Call, message: bytes) -> bytes:
        return await self._infer(ParsedRequest(message), call)

    async def _infer(self, parsed: ParsedRequest, call: Call) -> bytes:
        head = parsed.head
        live = self._catalogue.resolve(head.model_name, head.model_version)
        read = live.codec.read(parsed, time.monotonic(), call.deadline, layouts=self._layouts, target=live)
        return live.codec.answer(read, await live.predict(read.request))
