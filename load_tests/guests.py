"""Clients of every kind, as a server meets them.

Some stay and wait for every answer, some cancel, run out of time, hang up, or ask for nonsense.

Each of them waits for an answer now and then, whatever else it does: a client that never waits is a
flood, and shows only how much is too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.health_pb2 import HealthCheckRequest, HealthCheckResponse
from load_tests.http2 import OK, Answer
from load_tests.lanes import Lane, by_name, open_lanes
from load_tests.payloads import Payload, fault_of_framed

if TYPE_CHECKING:
    from collections.abc import Sequence

INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
PAUSE_S = 0.004
STREAMED = 8


class Guest:
    """One connection on which up to `streams` calls are in flight, to the payloads in turn.

    A call may end with any of the statuses in `fitting`.
    `faults` counts what came otherwise: another status, or a wrong answer.
    """

    name = "stays"
    fitting = frozenset({OK})
    timeout_ms = 0

    def __init__(self, payloads: Sequence[Payload], streams: int, seed: int) -> None:
        self._payloads = [(payload, payload.framed) for payload in payloads]
        self._streams = streams
        self._random = random.Random(seed)
        self._begun: dict[tuple[int, int], Payload] = {}
        self._stopping = False
        self._answered = asyncio.Event()
        self.statuses: Counter[int] = Counter()
        self.cancelled = 0
        self.faults: Counter[str] = Counter()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {dict(self.statuses)}, {self.cancelled} cancelled, "
            f"{len(self._begun)} in flight>"
        )

    async def run(self, address: str, seconds: float) -> None:
        """Calls for `seconds`, and then waits for what is in flight."""
        (lane,) = await open_lanes(address, 1, self._on_answers, timeout_ms=self.timeout_ms)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._visit(lane)
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while lane.connection.in_flight:
                    await asyncio.sleep(PAUSE_S)
        if lane.connection.in_flight:
            self.faults["never answered"] += lane.connection.in_flight
        lane.close()

    async def _visit(self, lane: Lane) -> None:
        self._fill(lane)
        lane.flush()
        await asyncio.Event().wait()

    def _fill(self, lane: Lane) -> None:
        connection = lane.connection
        while connection.in_flight < self._streams:
            payload, framed = self._random.choice(self._payloads)
            if not connection.has_room(framed):
                return
            self._begun[id(lane), connection.call(framed)] = payload

    def _on_answers(self, lane: Lane, answers: list[Answer]) -> None:
        for answer in answers:
            payload = self._begun.pop((id(lane), answer.stream), None)
            if payload is None:  # a call of a lane that was closed since
                continue
            self.statuses[answer.status] += 1
            if answer.status not in self.fitting:
                self.faults[
                    f"a call of {payload.model} ended with "
                    f"{by_name(Counter([answer.status]))} {lane.fault}"
                ] += 1
            elif answer.status == OK and (fault := fault_of_framed(answer.body, payload)):
                self.faults[fault] += 1
        if answers:
            self._answered.set()
        if not self._stopping:
            self._fill(lane)

    async def _wait_for_answer(self) -> None:
        self._answered.clear()
        await self._answered.wait()


class Fickle(Guest):
    """A client that cancels calls in flight, some of them just sent."""

    name = "cancels"

    async def _visit(self, lane: Lane) -> None:
        while True:
            self._fill(lane)
            lane.flush()
            await self._wait_for_answer()
            for key in [key for key in self._begun if self._random.random() < 0.5]:
                del self._begun[key]
                lane.connection.cancel(key[1])
                self.cancelled += 1
            lane.flush()
            await asyncio.sleep(PAUSE_S * self._random.random())


class Hurried(Guest):
    """A client whose calls have a deadline that is too short for some of them."""

    name = "has no time"
    fitting = frozenset({OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED})
    timeout_ms = 5


class Vanishing(Guest):
    """A client that hangs up in the middle of everything, and comes again."""

    name = "hangs up"

    async def run(self, address: str, seconds: float) -> None:
        """Connects and hangs up again and again for `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    (lane,) = await open_lanes(address, 1, self._on_answers)
                    self._fill(lane)
                    lane.flush()
                    await self._wait_for_answer()
                    await asyncio.sleep(PAUSE_S * self._random.random())
                    self.cancelled += len(self._begun)
                    lane.connection.abandon()
                    self._begun.clear()
                    lane.abort()


class Mistaken(Guest):
    """A client that asks for models and shapes that do not exist."""

    name = "is mistaken"
    fitting = frozenset({NOT_FOUND, INVALID_ARGUMENT})

    def __init__(self, payloads: Sequence[Payload], streams: int, seed: int) -> None:
        unknown, unfit = (pb.ModelInferRequest.FromString(payloads[0].message) for _ in range(2))
        unknown.model_name = "nobody"
        unfit.inputs[0].shape[-1] += 1
        expected = payloads[0].expected
        super().__init__(
            [
                Payload(request.model_name, request.SerializeToString(), expected)
                for request in (unknown, unfit)
            ],
            streams,
            seed,
        )


class Streaming:
    """A client of grpc.aio that leaves streams of inference and watches of health in the middle."""

    name = "streams"

    def __init__(self, payloads: Sequence[Payload], streams: int, seed: int) -> None:
        self._payloads = payloads
        self._streams = streams
        self._random = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.cancelled = 0
        self.faults: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Streaming: {dict(self.statuses)}, {self.cancelled} cancelled>"

    async def run(self, address: str, seconds: float) -> None:
        """Opens and leaves streams for `seconds`."""
        async with grpc.aio.insecure_channel(address) as channel:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(*(self._visit(channel) for _ in range(self._streams)))

    async def _visit(self, channel: grpc.aio.Channel) -> None:
        infer = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString,
        )
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            HealthCheckRequest.SerializeToString,
            HealthCheckResponse.FromString,
        )
        while True:
            request = pb.ModelInferRequest.FromString(self._random.choice(self._payloads).message)
            watching = watch(HealthCheckRequest())
            inferring = infer()
            await watching.read()
            for _ in range(STREAMED):
                await inferring.write(request)
            for _ in range(self._random.randrange(STREAMED)):
                answer = await inferring.read()
                self.statuses[OK] += 1
                if answer.error_message:
                    self.faults[answer.error_message] += 1
            inferring.cancel()
            watching.cancel()
            self.cancelled += 2
