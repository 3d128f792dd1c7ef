"""The RPCs ModelInfer and ModelStreamInfer, answered by a serving process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final, NoReturn

from gateway.core.errors import (
    AnswerTooLarge,
    DeadlineExpired,
    GatewayError,
    InvalidRequest,
    RequestTooLarge,
    status_of,
)
from gateway.core.grpc_codes import DEADLINE_EXCEEDED
from gateway.core.span_context import span_context_of
from gateway.protocol.codec import VersionCodec
from gateway.protocol.fields import bytes_tag, leading_texts
from gateway.protocol.generated.inference_pb2 import ModelInferResponse, ModelStreamInferResponse
from gateway.protocol.layout import Layout, Layouts
from gateway.protocol.requests import ParsedRequest
from gateway.records.cells import IN_STREAM
from gateway.records.request_details import Failure
from gateway.records.writer import RecordWriter
from gateway.serving.routing.catalogue import Catalogue
from gateway.serving.routing.route import Route
from gateway.serving.wire.call_errors import log_error
from gateway.serving.wire.services.first_message import FirstMessage
from gateway.serving.wire.services.open_streams import OpenStreams
from gateway.serving.wire.transport.interface import Call, StreamCall

# requests of one stream that may be under way; the caller's next message waits in the core
_STREAM_AHEAD: Final = 256
_WANTS_FINAL: Final = "triton_enable_empty_final_response"
_INFER_RESPONSE: Final = 2  # field of ModelStreamInferResponse
# fields of ModelInferRequest, which clients write in this order
_MODEL, _VERSION, _ID = range(1, 4)


def _final_response() -> bytes:
    response = ModelInferResponse()
    response.parameters["triton_final_response"].bool_param = True
    return response.SerializeToString()


_FINAL_RESPONSE: Final = _final_response()  # merges into a response by concatenation
_STREAM_ROOM: Final = len(_FINAL_RESPONSE) + 16
"""What an answer becomes longer by on a stream, at most."""


class InferenceService:
    """Answers inference requests by the routes of a catalogue."""

    def __init__(
        self,
        catalogue: Catalogue,
        streams: OpenStreams,
        writer: RecordWriter,
        max_message_bytes: int,
    ) -> None:
        """`writer` writes down what became of each; no answer is longer than the message limit."""
        self._catalogue = catalogue
        self._streams = streams
        self._writer = writer
        self._most_bytes = max_message_bytes
        self._most_streamed = max_message_bytes - _STREAM_ROOM
        self._layouts: Layouts[Route] = Layouts()
        catalogue.on_change(self._layouts.clear)

    async def model_infer(self, call: Call, message: bytes, flags: int = 0) -> bytes:
        """ModelInfer, and one message of a stream (`flags`: `IN_STREAM`).

        A message laid out like one met before is read by its layout, any other as a first one; both
        lead to a route.
        """
        arrived = time.monotonic()
        way = self._layouts.find(message) or FirstMessage(self._catalogue, self._layouts)
        request = None
        try:
            request = way.request(message, arrived, call.deadline)
            request.caller = call
            id_field = way.id_field(message)
            prediction = await way.target.predict(request)
            codec: VersionCodec = prediction.served_by.codec
            answer = codec.encode(id_field, request.form.outputs, prediction, way.choices)
            if len(answer) > (self._most_streamed if flags else self._most_bytes):
                _refuse(len(answer), self._most_bytes)
        except BaseException as error:
            failure = Failure(call, error, status_of(error), arrived)
            failure.request = request
            _identify(failure, way, message)
            self._failed(call, failure, flags)
            raise
        self._writer.answered(request, prediction, id_field, flags)
        if flags and request.form.parameters.get(_WANTS_FINAL) is True:
            answer += _FINAL_RESPONSE
        return answer

    def refused(self, call: Call, error: RequestTooLarge, flags: int = 0) -> None:
        """Counts and logs a message over the limit, which no method was given; see `Methods`."""
        failure = Failure(call, error, status_of(error), time.monotonic())
        texts = leading_texts(error.head, _ID)
        failure.model = texts.get(_MODEL, "")
        failure.request_id = texts.get(_ID, "")
        with contextlib.suppress(GatewayError):
            route: Route = self._catalogue.resolve(failure.model, texts.get(_VERSION, ""))
            failure.version = route.version
        self._failed(call, failure, flags)

    def refused_in_stream(self, call: Call, error: RequestTooLarge) -> None:
        """The same of a message of a stream."""
        self.refused(call, error, IN_STREAM)

    async def model_stream_infer(self, call: StreamCall) -> None:
        """ModelStreamInfer: answers come in the order of the requests, which run side by side.

        An error is reported in-band, in `error_message`, and the stream goes on; with the metadata
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
            while (message := await self._received(call)) is not None:
                task = asyncio.ensure_future(
                    self._infer_in_stream(call, message, ends_at_error=ends_at_error)
                )
                try:
                    await under_way.put(task)
                except asyncio.CancelledError:  # it is not in the queue when that is emptied
                    task.cancel()
                    raise
        finally:
            await under_way.put(None)

    async def _received(self, call: StreamCall) -> bytes | RequestTooLarge | None:
        """The next message, or why it was refused; None: there is no more."""
        try:
            return await self._streams.wait(call.receive())
        except RequestTooLarge as error:
            self.refused_in_stream(call, error)
            return error

    async def _infer_in_stream(
        self, call: StreamCall, message: bytes | RequestTooLarge, *, ends_at_error: bool
    ) -> bytes:
        """One answer as a ModelStreamInferResponse; errors keep the request's id."""
        try:
            if isinstance(message, RequestTooLarge):
                raise message  # the way of all errors
            encoded = await self.model_infer(call, message, IN_STREAM)
        except GatewayError as error:
            if ends_at_error:
                raise
            return ModelStreamInferResponse(
                error_message=str(error),
                infer_response=ModelInferResponse(id=self._id_in(message)),
            ).SerializeToString()
        return bytes_tag(_INFER_RESPONSE, len(encoded)) + encoded

    def _id_in(self, message: bytes | RequestTooLarge) -> str:
        """The id of a message that failed; empty where it has none that can be read."""
        if isinstance(message, RequestTooLarge):
            return leading_texts(message.head, _ID).get(_ID, "")
        layout = self._layouts.find(message)
        if layout is not None:
            return _id_of(layout, message)
        try:
            return str(ParsedRequest(message).head.id)
        except InvalidRequest:
            return ""

    def _failed(self, call: Call, failure: Failure, flags: int) -> None:
        if isinstance(failure.error, asyncio.CancelledError) and time.monotonic() >= call.deadline:
            failure.error = DeadlineExpired("the deadline passed before the answer was ready")
            failure.status = DEADLINE_EXCEEDED
        plan = failure.version.plan if failure.version is not None else None
        # logged where it is known whose it was, and before its span gets the ids that the log names
        log_error(
            failure.error,
            plan.model if plan is not None else "",
            plan.version if plan is not None else 0,
            lambda: self._known(failure),
        )
        self._writer.failed(failure, flags)
        if isinstance(failure.error, AnswerTooLarge) and failure.version is not None:
            ns = int((time.monotonic() - failure.arrived) * 1e9)
            failure.version.counts.record_failures(1, ns)  # it ran well, and is no success

    def _known(self, failure: Failure) -> dict[str, object]:
        known: dict[str, object] = {"request_id": failure.request_id}
        if failure.version is None:
            known["model"] = failure.model
        if failure.request is not None:
            context = self._writer.sampling.context(failure.request)
            known |= {"trace_id": context.trace_id, "span_id": context.span_id}
        elif (parent := span_context_of(failure.caller.metadata())) is not None:
            known["trace_id"] = parent.trace_id
        return known


def _identify(failure: Failure, way: Layout[Route] | FirstMessage, message: bytes) -> None:
    """Says which version failed, and which request; as far as is known."""
    if isinstance(way, FirstMessage):
        failure.version = way.version
        failure.request_id = way.id
        failure.model = way.model
    else:
        failure.version = way.target.version
        failure.request_id = _id_of(way, message)
    if failure.request is not None and failure.request.version is not None:
        failure.version = failure.request.version


def _refuse(size: int, limit: int) -> NoReturn:
    raise AnswerTooLarge(
        f"the answer has {size} bytes, and a message may have {limit} (--max-message-size): ask "
        "for fewer rows or outputs, or have the limit raised"
    )


def _id_of(layout: Layout[Route], message: bytes) -> str:
    try:
        return layout.id_field(message)[2:].decode()
    except InvalidRequest:
        return ""
