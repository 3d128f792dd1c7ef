"""Another server of the Open Inference Protocol as an instance of a version.

Runs in a serving process; it is a `gateway.core.instance.Instance`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final, Self

from gateway.core.errors import InstanceFailed
from gateway.core.instance import Work
from gateway.core.plan import VersionPlan
from gateway.core.protection import RemotePlan
from gateway.serving.runtime.remote.batch_calls import (
    BatchCalls,
    Metadata,
    authorization,
    no_metadata,
    with_token,
)
from gateway.serving.runtime.remote.grpc_channel import Channel, Channels
from gateway.serving.runtime.remote.latency import MovingLatency
from gateway.serving.runtime.remote.remote_health import RemoteHealth
from gateway.serving.runtime.remote.remote_signature import (
    ModelThere,
    RemoteSignature,
    follow_signature,
)
from gateway.serving.runtime.remote.request_encoding import BatchCodec

_log = logging.getLogger(__name__)

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
# of inputs: from here on, copying and writing them holds the event loop
# longer than a thread's hop takes
_LARGE_BYTES: Final = 256 << 10


def _nothing(_work: Work, _address: str, _started_s: float, _answered: bool) -> None: ...


class RemoteInstance:
    """Runs batches of `version` on the server of `plan`; `async with`, or `start` and `close`.

    `metadata` returns what is sent along with a batch: its trace context. `returned` is called at
    its end with the address, when it was sent (seconds of the monotonic clock), and whether it was
    answered.
    """

    def __init__(
        self,
        version: VersionPlan,
        plan: RemotePlan,
        channels: Channels,
        *,
        metadata: Callable[[Work], Metadata] = no_metadata,
        returned: Callable[[Work, str, float, bool], None] = _nothing,
    ) -> None:
        self._version = version
        self._plan = plan
        self._channels = channels
        self._model = plan.model or version.model
        self._codec = BatchCodec(version, plan)
        self._latency = MovingLatency()
        self._metadata = with_token(plan.token, metadata)
        self._returned = returned
        self._watchers: list[Callable[[], None]] = []
        self._running: dict[BatchCalls, None] = {}  # the oldest first
        self._channel: Channel | None = None
        self._health: RemoteHealth | None = None
        self._signature: RemoteSignature | None = None
        """What the server says of its model; None: it is not known yet, or no more."""
        self._asking: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()

    async def start(self) -> None:
        """Begins to follow the server's health; returns when it has answered, or after some 4 s.

        A server that is down is not an error. One that is up has said of its model what it says.
        """
        self._channel = self._channels.borrow(self._plan)
        self._health = RemoteHealth(
            self._channel,
            self._model,
            self._plan.version,
            authorization(self._plan.token),
            self._health_changed,
        )
        try:
            await self._health.start()
            if self._asking is not None:  # two seconds at the longest
                await self._asked.wait()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Fails what is under way and hangs up."""
        channel = self._channel
        health = self._health
        self._channel = None
        self._health = None
        self._forget_signature()
        if channel is None or health is None:
            return
        await health.close()
        for batch in list(self._running):
            batch.fail(self._unused())
        await self._channels.give_back(channel)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def name(self) -> str:
        """The address of the server."""
        return self._plan.address

    @property
    def capacity(self) -> int:
        """Batches it is given at the same time."""
        return self._plan.concurrent_batches

    @property
    def available(self) -> bool:
        """The server reports that it can run the model, and its model is the one that is served."""
        return self._signature is not None and not self._signature.fault

    @property
    def expected_s(self) -> float:
        """Seconds that its next batch is expected to take; 0: unknown.

        It is estimated from the last ones and from those under way.
        """
        now = time.monotonic()
        oldest = next(iter(self._running), None)
        return self._latency.expected_s(now, now - oldest.started if oldest is not None else 0.0)

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` on the event loop after every change of `available`."""
        self._watchers.append(changed)

    def run(self, work: Work, done: Callable[[], None]) -> None:
        """Sends the work; calls `done` on the event loop, not inside this call."""

        def ended(batch: BatchCalls) -> None:
            try:
                self._ended(batch)
            finally:
                done()

        batch = BatchCalls(work, self._codec, self.name, ended)
        self._running[batch] = None
        if self._channel is None:
            self._encoded(batch, self._unused())
        elif work.input_bytes > _LARGE_BYTES:
            self._encode_in_thread(batch)
        else:
            self._encoded(batch, batch.encode(self._max_rows))

    def _encode_in_thread(self, batch: BatchCalls) -> None:
        loop = asyncio.get_running_loop()
        max_rows = self._max_rows

        def job() -> None:
            error = batch.encode(max_rows)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._encoded, batch, error)

        self._channels.in_thread(job)

    def _encoded(self, batch: BatchCalls, error: Exception | None) -> None:
        if batch.over:
            return
        if error is None and self._channel is not None:
            batch.send(self._channel.unary(MODEL_INFER), self._plan.timeout_s, self._metadata)
        else:
            asyncio.get_running_loop().call_soon(batch.fail, error or self._unused())

    def _ended(self, batch: BatchCalls) -> None:
        del self._running[batch]
        now = time.monotonic()
        self._returned(batch.work, self.name, batch.started, batch.succeeded)
        # how quickly it refuses is no measure of how quickly it works
        if batch.succeeded or batch.overdue:
            self._latency.add(now - batch.started, now)
        if batch.doubtful and self._health is not None:
            self._health.doubt()

    def _unused(self) -> InstanceFailed:
        return InstanceFailed(f"{self.name} is not used any more")

    @property
    def _max_rows(self) -> int:
        """The smaller of the configured limit and the server's own; 0: there is none."""
        own = self._signature.max_rows if self._signature is not None else 0
        limits = [limit for limit in (self._plan.max_rows, own) if limit]
        return min(limits, default=0)

    def _health_changed(self) -> None:
        """Whenever the server has become available it may be another: its model is asked for."""
        was_available = self.available
        self._forget_signature()
        channel = self._channel
        if channel is not None and self._health is not None and self._health.available:
            plan = self._plan
            there = ModelThere(self.name, self._model, plan.version, authorization(plan.token))
            self._asking = asyncio.create_task(
                follow_signature(channel, self._version, there, self._learn_signature)
            )
        if was_available:
            self._changed()

    def _learn_signature(self, signature: RemoteSignature) -> None:
        self._signature = signature
        if not signature.fault:
            # what it sets off is not the asking task's, nor are its errors
            asyncio.get_running_loop().call_soon(self._changed)
        self._asked.set()

    def _forget_signature(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asked.set()  # nobody waits for what is no more asked
        self._asking = None
        self._signature = None

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()

    def __repr__(self) -> str:
        return (
            f"<RemoteInstance {self.name}: {len(self._running)} of {self.capacity} running, "
            f"{self._latency}, {self._health}>"
        )
