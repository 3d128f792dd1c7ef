"""ModelInfer and ModelStreamInfer."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Protocol

from gateway.core.errors import DeadlineExpired, GatewayError, InvalidRequest, status_of
from gateway.core.grpc_status import DEADLINE_EXCEEDED
from gateway.core.request import InferenceRequest, Prediction
from gateway.core.span_context import SpanContext, span_context_of
from gateway.protocol.codec import ReadRequest
from gateway.protocol.fields import bytes_tag
from gateway.protocol.generated.inference_pb2 import ModelInferResponse, ModelStreamInferResponse
from gateway.protocol.layout import Layout, Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.records.cells import IN_STREAM
from gateway.records.request_details import Failure
from gateway.serving.routing.catalogue import Catalogue, Live
from gateway.serving.wire.call_errors import tell
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.transport.interface import Call, StreamCall

# requests of one stream that may be under way; the caller's next message waits in the core
_STREAM_AHEAD: Final = 256
_INFER_RESPONSE: Final = 2  # field of ModelStreamInferResponse


def _final_response() -> bytes:
    response = ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = True
    return response.SerializeToString()


_FINAL_RESPONSE: Final = _final_response()  # merges into a response by concatenation


class Observer(Protocol):
    """Writes down what became of requests."""

    def answered(
        self,
        request: InferenceRequest,
        version: Any,
        prediction: Prediction,
        id_field: bytes,
        flags: int = 0,
    ) -> None:
        """One has its answer, which leaves in this turn of the loop.

        `id_field`: its id as it stands in the response.
        """
        ...

    def failed(self, failure: Failure, flags: int = 0) -> None:
        """One has ended without an answer."""
        ...

    def context(self, request: InferenceRequest) -> SpanContext:
        """The request's own span, made when it is first asked for."""
        ...


class InferenceService:
    """Answers inference requests with the versions of a catalogue."""

    def __init__(self, catalogue: Catalogue, streams: OpenStreams, observer: Observer) -> None:
        self._catalogue = catalogue
        self._streams = streams
        self._observer = observer
        self._layouts = Layouts()
        catalogue.on_change(self._layouts.clear)

    async def model_infer(self, call: Call, message: bytes) -> bytes:
        """ModelInfer. A message laid out like one met before takes the short way."""
        layout = self._layouts.find(message)
        if layout is None:
            return await self._infer(message, call)
        live: Live = layout.target
        arrived = time.monotonic()
        request = None
        try:
            if live.quota is not None:
                live.quota.require(call.metadata())
            id_field = layout.id_field(message)
            request = layout.request(message, arrived, call.deadline)
            request.caller = call
            prediction = await live.predict(request)
            answer = live.codec.encode(id_field, layout.form.outputs, prediction)
        except BaseException as error:
            failure = Failure(call, error, status_of(error), arrived)
            failure.version = live
            failure.request = request
            failure.request_id = _id_of(layout, message)
            self._failed(call, failure)
            raise
        self._observer.answered(request, live, prediction, id_field)
        return answer

    async def model_stream_infer(self, call: StreamCall) -> None:
        """ModelStreamInfer: answers come in the order of the requests, which run side by side.

        An error is told in-band, in `error_message`, and the stream goes on; with the metadata
        `triton_grpc_error: true` it ends the stream with the status it has.
        """
        ends_at_error = any(
            key == "triton_grpc_error" and value == "true" for key, value in call.metadata()
        )
        under_way: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(_STREAM_AHEAD)
        reader = asyncio.ensure_future(
            self._read_stream(call, under_way, ends_at_error=ends_at_error)
        )
        try:
            while (answer := await under_way.get()) is not None:
                await call.send(await answer)
            await reader
        finally:
            reader.cancel()
            while not under_way.empty():
                if (task := under_way.get_nowait()) is not None:
                    task.cancel()

    async def _read_stream(
        self,
        call: StreamCall,
        under_way: asyncio.Queue[asyncio.Task[bytes] | None],
        *,
        ends_at_error: bool,
    ) -> None:
        try:
            while (message := await self._streams.wait(call.receive())) is not None:
                task = asyncio.ensure_future(
                    self._infer_in_stream(call, message, ends_at_error=ends_at_error)
                )
                try:
                    await under_way.put(task)
                except asyncio.CancelledError:  # whoever empties the queue will not find it there
                    task.cancel()
                    raise
        finally:
            await under_way.put(None)

    async def _infer_in_stream(
        self, call: StreamCall, message: bytes, *, ends_at_error: bool
    ) -> bytes:
        """One answer as a ModelStreamInferResponse; errors keep the request's id."""
        seen: list[ParsedRequest] = []
        try:
            encoded = await self._infer(message, call, seen, flags=IN_STREAM)
        except GatewayError as error:
            if ends_at_error:
                raise
            request_id = seen[0].head.id if seen else ""
            return ModelStreamInferResponse(
                error_message=str(error), infer_response=ModelInferResponse(id=request_id)
            ).SerializeToString()
        if seen[0].head.parameters["triton_enable_empty_final_response"].bool_param:
            encoded += _FINAL_RESPONSE
        return bytes_tag(_INFER_RESPONSE, len(encoded)) + encoded

    async def _infer(
        self, message: bytes, call: Call, seen: list[ParsedRequest] | None = None, *, flags: int = 0
    ) -> bytes:
        """The long way; `seen` is given the message as it was read."""
        arrived = time.monotonic()
        live = None
        request = None
        head = None
        try:
            parsed = ParsedRequest(message)
            head = parsed.head
            if seen is not None:
                seen.append(parsed)
            live = self._catalogue.resolve(head.model_name, head.model_version)
            if live.quota is not None:
                live.quota.require(call.metadata())
            read: ReadRequest = live.codec.read(
                parsed, arrived, call.deadline, layouts=self._layouts, target=live
            )
            request = read.request
            request.caller = call
            prediction = await live.predict(request)
            answer = live.codec.answer(read, prediction)
        except BaseException as error:
            failure = Failure(call, error, status_of(error), arrived)
            failure.version = live
            failure.request = request
            if head is not None:
                failure.request_id = head.id
                failure.model = head.model_name
            self._failed(call, failure, flags)
            raise
        self._observer.answered(request, live, prediction, read.id_field, flags)
        return answer

    def _failed(self, call: Call, failure: Failure, flags: int = 0) -> None:
        if isinstance(failure.error, asyncio.CancelledError) and time.monotonic() >= call.deadline:
            failure.error = DeadlineExpired("the deadline passed before the answer was ready")
            failure.status = DEADLINE_EXCEEDED
        plan = failure.version.plan if failure.version is not None else None
        # Told here, where it is known whose it was; before it is written down, so that its span
        # bears the ids that the log names.
        tell(
            failure.error,
            plan.model if plan is not None else "",
            plan.version if plan is not None else 0,
            lambda: self._known(failure),
        )
        self._observer.failed(failure, flags)

    def _known(self, failure: Failure) -> dict[str, object]:
        known: dict[str, object] = {"request_id": failure.request_id}
        if failure.version is None:
            known["model"] = failure.model
        if failure.request is not None:
            context = self._observer.context(failure.request)
            known |= {"trace_id": context.trace_id, "span_id": context.span_id}
        elif (parent := span_context_of(failure.caller.metadata())) is not None:
            known["trace_id"] = parent.trace_id
        return known


def _id_of(layout: Layout, message: bytes) -> str:
    try:
        return layout.id_field(message)[2:].decode()
    except InvalidRequest:
        return ""
