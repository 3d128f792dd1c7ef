"""Whether another server can run a model now. Runs in a serving process.

Its `grpc.health.v1` Watch is believed where it has one that knows the model. Where it has none
(Triton), or sends nothing, ModelReady is asked every few seconds. When a call was lost or overdue,
ModelReady is asked at once: a server that hangs reports nothing, and its connection stays up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from gateway.protocol.generated.inference_pb2 import ModelReadyRequest, ModelReadyResponse
from gateway.serving.runtime.remote.grpc_channel import Channel, ask, has_many_servers
from gateway.serving.runtime.remote.status_stream import NOT_SERVING, SERVING, StatusStream

MODEL_READY: Final = "/inference.GRPCInferenceService/ModelReady"
_log = logging.getLogger(__name__)

# between two questions to a server that is well and has no Watch; a fifth more or less, so that
# gateways do not ask in step
_ASK_S: Final = 3.0
_LEAST_PAUSE_S: Final = 0.1  # between any two; doubled up to `_ASK_S` while it is not well
_ANSWER_S: Final = 2.0  # a server that takes longer to say whether it is ready is not
_FIRST_ANSWER_S: Final = 2.0
_NO_WATCH: Final = frozenset(
    {
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


class RemoteHealth:
    """Follows one model on one server.

    `changed` is called on the loop after every change of `available`.
    """

    def __init__(
        self,
        channel: Channel,
        model: str,
        version: str,
        metadata: Sequence[tuple[str, str]],
        changed: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._metadata = tuple(metadata)
        self._changed = changed
        self._service = f"{model}/{version}" if version else model
        self._question = ModelReadyRequest(name=model, version=version).SerializeToString()
        # why it is not available, empty where it is; None until something was learnt
        self._fault: str | None = None
        self._stream: StatusStream | None = None
        self._has_watch = self._may_have_watch
        self._last_status: int | None = None  # the stream's last status
        self._doubt = True  # ask, whatever the stream reported
        self._failing = False  # the last question was not answered with yes
        self._pause_s = _LEAST_PAUSE_S
        self._wake = asyncio.Event()
        self._known = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def available(self) -> bool:
        """The server is there, and the model is ready on it."""
        return self._fault == ""

    @property
    def _may_have_watch(self) -> bool:
        """There is one server behind the address.

        Of several a Watch would show one's health: there gRPC's own health check chooses, and the
        name is asked.
        """
        return not has_many_servers(self._channel.address)

    async def start(self) -> None:
        """Begins to follow; returns with the first answer, or after 2 s without one."""
        self._task = asyncio.get_running_loop().create_task(self._follow())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ANSWER_S):
                await self._known.wait()

    async def close(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._fault = "it is closed"

    def doubt(self) -> None:
        """Has the server asked how it is, because a call was lost or overdue."""
        self._doubt = True
        self._wake.set()

    def _on_status(self, status: int) -> None:
        """Takes over the server's status, unless it does not know the model by name."""
        self._last_status = status
        if status == SERVING:
            self._doubt = False
            self._learn("")
        elif status == NOT_SERVING:
            self._learn("it reports that it is not serving")
        else:
            self._wake.set()

    def _on_end(self, code: Any) -> None:
        """Has the server asked: the connection was lost or given up, or there is no Watch."""
        # or it would be opened and lost over and over
        if code in _NO_WATCH or (self._last_status is None and not self._failing):
            self._has_watch = False
        self._stream = None
        self._last_status = None
        self.doubt()

    async def _follow(self) -> None:
        while True:
            self._wake.clear()
            self._listen()
            if self._must_ask():
                self._answered(await self._ask())
                self._listen()
                await asyncio.sleep(_LEAST_PAUSE_S)
            await self._rest()

    def _must_ask(self) -> bool:
        return self._last_status != NOT_SERVING and (self._doubt or self._last_status != SERVING)

    def _listen(self) -> None:
        if self._stream is None and self._has_watch and not self._failing:
            try:
                self._stream = StatusStream(
                    self._channel, self._service, self._metadata, self._on_status, self._on_end
                )
            except Exception as error:  # noqa: BLE001
                # a channel that was closed, metadata that gRPC does not take
                _log.debug("%s: its health cannot be watched: %s", self._channel.address, error)
                self._has_watch = False

    async def _rest(self) -> None:
        """Waits until the next question is due or the stream brought something."""
        pause_s = None
        if self._must_ask():
            pause_s = self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()

    def _answered(self, fault: str) -> None:
        if fault:
            self._pause_s = min(_ASK_S, 2 * self._pause_s) if self._failing else _LEAST_PAUSE_S
            self._failing = True
            self._doubt = True
            self._has_watch = self._may_have_watch  # the server that comes back may be another
            self._learn(fault)
            return
        self._failing = False
        self._doubt = False
        self._pause_s = _ASK_S
        if self._last_status != NOT_SERVING:
            self._learn("")

    async def _ask(self) -> str:
        """Asks ModelReady; returns why the model is not ready there, empty where it is."""
        try:
            call = await ask(self._channel, MODEL_READY, self._question, self._metadata, _ANSWER_S)
        except Exception as error:  # noqa: BLE001  # as above
            return f"{type(error).__name__}: {error}"
        return _fault(call)

    def _learn(self, fault: str) -> None:
        was = self._fault
        self._fault = fault
        if was is None or (was == "") != (fault == ""):
            if fault:
                _log.warning("%s cannot run '%s': %s", self._channel.address, self._service, fault)
            else:
                _log.info("%s can run '%s'", self._channel.address, self._service)
            # what it sets off is not this task's, nor are its errors
            asyncio.get_running_loop().call_soon(self._changed)
        self._known.set()

    def __repr__(self) -> str:
        return (
            f"<RemoteHealth {self._service} at {self._channel.address}: "
            f"{self._fault or ('available' if self.available else 'not known yet')}>"
        )


def _fault(call: Any) -> str:
    code = call.code()
    if code is not grpc.StatusCode.OK:
        return f"{code.name}: {call.details() or 'no details'}"
    try:
        ready = ModelReadyResponse.FromString(call.result() or b"").ready
    except DecodeError:
        return "it does not speak the Open Inference Protocol"
    return "" if ready else "it reports that the model is not ready"
