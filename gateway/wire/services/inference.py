"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateway.core.errors import GatewayError
from gateway.protocol.codec import ReadRequest
from gateway.protocol.fields import bytes_tag
from gateway.protocol.generated.inference_pb2 import ModelInferResponse, ModelStreamInferResponse
from gateway.protocol.layout import Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.routing.catalogue import Catalogue, Live
from gateway.wire.services.open_streams import OpenStreams
from gateway.wire.transport import Call, StreamCall

_STREAM_AHEAD: Final = 256  # requests of one stream that may be under way; the caller's next message waits in the core
_INFER_RESPONSE: Final = 2  # field of ModelStreamInferResponse


def _final_response() -> bytes:
    response = ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = True
    return response.SerializeToString()


_FINAL_RESPONSE: Final = _final_response()  # merges into a response by concatenation


class InferenceService:
    """Answers inference requests with the versions of a catalogue."""

    def __init__(self, catalogue: Catalogue, streams: OpenStreams) -> None:
        self._catalogue, self._streams = catalogue, streams
        self._layouts = Layouts()
        catalogue.on_change(self._layouts.clear)

    async def model_infer(self, call: Call, message: bytes) -> bytes:
        """ModelInfer. A message laid out like one met before takes the short way."""
        layout = self._layouts.find(message)
        if layout is None:
            return await self._infer(ParsedRequest(message), call)
        live: Live = layout.target
        if live.quota is not None:
            live.quota.require(call.metadata())
        id_field = layout.id_field(message)
        prediction = await live.predict(layout.request(message, time.monotonic(), call.deadline))
        return live.codec.encode(id_field, layout.form.outputs, prediction)

    async def model_stream_infer(self, call: StreamCall) -> None:
        """ModelStreamInfer: answers come in the order of the requests, which run side by side.

        An error is told in-band, in `error_message`, and the stream goes on; with the metadata `triton_grpc_error: true` it ends the stream with
        the status it has.
        """
        ends_at_error = any(key == "triton_grpc_error" and value == "true" for key, value in call.metadata())
        under_way: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_STREAM_AHEAD)
        reader = asyncio.ensure_future(self._read_stream(call, under_way, ends_at_error=ends_at_error))
        try:
            while (answer := await under_way.get()) is not None:
                await call.send(await answer)
            await reader
        finally:
            reader.cancel()
            while not under_way.empty():
                if (task := under_way.get_nowait()) is not None:
                    task.cancel()

    async def _read_stream(self, call: StreamCall, under_way: asyncio.Queue[asyncio.Task[bytes] | None], *, ends_at_error: bool) -> None:
        try:
            while (message := await self._streams.wait(call.receive())) is not None:
                task = asyncio.ensure_future(self._infer_in_stream(call, message, ends_at_error=ends_at_error))
                try:
                    await under_way.put(task)
                except asyncio.CancelledError:  # whoever empties the queue will not find it there
                    task.cancel()
                    raise
        finally:
            await under_way.put(None)

    async def _infer_in_stream(self, call: StreamCall, message: bytes, *, ends_at_error: bool) -> bytes:
        """One answer as a ModelStreamInferResponse; errors keep the request's id."""
        request_id = ""
        try:
            parsed = ParsedRequest(message)
            request_id = parsed.head.id
            encoded = await self._infer(parsed, call)
        except GatewayError as error:
            if ends_at_error:
                raise
            return ModelStreamInferResponse(error_message=str(error), infer_response=ModelInferResponse(id=request_id)).SerializeToString()
        if parsed.head.parameters["triton_enable_empty_final_response"].bool_param:
            encoded += _FINAL_RESPONSE
        return bytes_tag(_INFER_RESPONSE, len(encoded)) + encoded

    async def _infer(self, parsed: ParsedRequest, call: Call) -> bytes:
        head = parsed.head
        live = self._catalogue.resolve(head.model_name, head.model_version)
        if live.quota is not None:
            live.quota.require(call.metadata())
        read: ReadRequest = live.codec.read(parsed, time.monotonic(), call.deadline, layouts=self._layouts, target=live)
        return live.codec.answer(read, await live.predict(read.request))
