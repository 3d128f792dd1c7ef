"""A page of a gateway that exists only as numbers, served over real HTTP and kept moving."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import time
from typing import Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.ipc.repository_index import IndexEntry, VersionState
from gateway.records.cells import DEGRADED, SLOW
from gateway.records.events import Detail
from gateway.telemetry.live.routes import routes
from gateway.telemetry.live.stream import LiveStream
from tests.support.live_parts import Clock, Numbers, gauged


class WallClock(Clock):
    """The real time, monotonic and of the day."""

    def __init__(self) -> None:
        self._zero_s = time.time() - time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() + self._past_s

    _past_s = 0.0

    def ns(self) -> int:
        return int(self.now_s * 1e9)

    def unix_s(self) -> float:
        return self._zero_s + self.now_s

    def set_back(self, by_s: float) -> None:
        self._zero_s -= by_s

    @contextlib.contextmanager
    def earlier(self, by_s: float):
        self._past_s = -by_s
        yield
        self._past_s = 0.0


class Feed:
    """The numbers, and a server of the page that shows them; `async with` starts and stops it."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.stream = LiveStream(numbers.live)
        application = web.Application()
        application.add_routes(routes(self.stream))
        application.on_shutdown.append(self.stream.end)
        self._server = TestServer(application)

    async def __aenter__(self) -> Self:
        await self.stream.__aenter__()
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.stream.__aexit__()

    @property
    def url(self) -> str:
        return str(self._server.make_url("/"))

    async def stop(self) -> None:
        """Closes the port and ends the requests that are open."""
        await self._server.close()


NAMES = (
    "fraud_scoring", "ranking", "digits", "penguins", "recommendations-candidates-wide-and-deep",
    "embeddings", "churn", "sentiment", "language_id", "toxicity", "price_forecast",
)  # fmt: skip


class Traffic:
    """The numbers of a busy gateway, a second at a time."""

    def __init__(self, models: int = len(NAMES), clock: Clock | None = None) -> None:
        self.random = random.Random(5)
        self.numbers = Numbers(
            [*NAMES, *(f"model_{number:04d}" for number in range(len(NAMES), models))][:models],
            clock=clock,
        )
        self._seconds = itertools.count()
        self._told()

    def _told(self) -> None:
        numbers = self.numbers
        index = [IndexEntry(name, "1", VersionState.READY) for name in numbers.names]
        index[7:7] = [
            IndexEntry(
                "sentiment",
                "2",
                VersionState.UNAVAILABLE,
                "the model cannot be opened: Load model failed: Protobuf parsing failed.",
            ),
            IndexEntry("vision", "3", VersionState.LOADING),
            IndexEntry("retired_model", "1", VersionState.UNAVAILABLE, "unloaded"),
        ]
        numbers.live.on_event(
            numbers.overview(index=tuple(index), started_s=numbers.clock.unix_s() - 7300)
        )

    def second(self) -> None:
        """Writes what one second brings."""
        second = next(self._seconds)
        now_ns = self.numbers.clock.ns()
        wave = 1 + 0.3 * math.sin(second / 17) + 0.1 * self.random.random()
        for slot in self.numbers.slots:
            for row, share in enumerate((260, 180, 90, 34, 22, 12, 5)):
                self._answer(slot, row, int(share * wave * self.random.uniform(0.9, 1.1)))
            for _ in range(self.random.randrange(4) if second % 40 > 30 else 0):
                self._fail(slot, now_ns)
            if second % 7 == slot.slot:
                detail = Detail(served_by="penguins/1", fallback_reason="circuit_open")
                slot.table.writer(slot.slot, 2).record_degraded()
                slot.request(
                    2,
                    now_ns,
                    took_ms=12.5,
                    flags=DEGRADED,
                    detail=detail,
                    request_id=f"order-{second}",
                )
            if second % 5 == slot.slot:
                slot.request(
                    self.random.randrange(4),
                    now_ns,
                    took_ms=self.random.uniform(80, 400),
                    flags=SLOW,
                )
            self._gauge(slot, second, now_ns, wave)
            if second % 60 == 20 and slot.slot == 0:
                slot.decide(
                    now_ns,
                    "breaker",
                    "digits",
                    1,
                    "open",
                    "5 batches in a row failed: instance worker 0 died",
                    "worker 0",
                )
            if second % 60 == 55 and slot.slot == 0:
                slot.decide(
                    now_ns, "breaker", "digits", 1, "closed", "a trial succeeded", "worker 0"
                )
            slot.tell(self.numbers.live)

    def _answer(self, slot, row: int, calls: int) -> None:
        while calls > 0:
            batch = min(calls, self.random.randrange(4, 40))
            queue_s = self.random.expovariate(1 / 0.0012)
            slot.answer(
                row,
                batch,
                0.0011 * (row + 1) + queue_s + self.random.expovariate(1 / 0.001),
                queue_s=queue_s,
            )
            calls -= batch

    def _fail(self, slot, now_ns: int) -> None:
        reason, status, text = self.random.choice(
            (
                ("deadline", 4, "the deadline of 20 ms passed while the request waited"),
                (
                    "invalid_request",
                    3,
                    (
                        "[request id: 17] unexpected shape for input 'x' for model 'ranking'. "
                        "Expected [-1,64], got [1,63]"
                    ),
                ),
                (
                    "instance_failed",
                    14,
                    "worker 0 of digits 1 died while it ran the batch: signal 11",
                ),
            )
        )
        row = {"deadline": 1, "invalid_request": 1}.get(reason, 2)
        slot.fail(row, reason)
        slot.request(
            row,
            now_ns,
            took_ms=20.4,
            reason=reason,
            status=status,
            detail=Detail(error=text, retries=int(status == 14)),
        )

    def _gauge(self, slot, second: int, now_ns: int, wave: float) -> None:
        breaker = "open" if second % 60 < 27 else "open, to try"
        if second % 60 not in range(20, 55) or slot.slot:
            breaker = "closed"
        queued = self.random.randrange(0, int(14 * wave))
        versions = [
            gauged(
                row,
                name,
                queued=queued // (row + 1),
                running=int(row < 5),
                breaker=breaker if row == 2 else "closed",
                instances=_instances(row, breaker),
            )
            for row, name in enumerate(self.numbers.names)
        ]
        slot.gauges(now_ns, tuple(versions), cpu_s=second * 0.61, in_flight=queued + 9)

    async def go_on(self) -> None:
        """Writes one second's numbers every second, for ever."""
        while True:
            self.second()
            await asyncio.sleep(1)


def _instances(row: int, breaker: str):
    return (
        [("worker 0", breaker == "closed", 1, breaker), ("worker 1", True, 0, "closed")]
        if row == 2
        else []
    )
