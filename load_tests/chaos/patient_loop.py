"""A closed loop that never cancels and keeps how every call ended, refused calls as well.

It shows what callers see that only wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

from load_tests.figures import percentile
from load_tests.http2 import OK, Answer
from load_tests.lanes import Lane, by_name, open_lanes
from load_tests.payloads import Payload, faults_of

STUCK_AFTER_S = 15
"""The load counts as stuck after so long without any answer."""
POLL_S = 0.005


class Ended(NamedTuple):
    """How one call ended.

    `began_s` and `ended_s` are times of `time.perf_counter`, `status` is the gRPC status code, and
    `reply` is the message as it came off the wire.
    """

    began_s: float
    ended_s: float
    status: int
    reply: bytes
    payload: Payload


class Asking:
    """Keeps up to `streams` calls in flight on each connection, the payloads in turn.

    A connection has fewer where the server's own limit is lower.

    The loop ends after `calls` calls or `seconds`, whichever comes first, once all that was sent
    has been answered. `pause_s` passes between an answer and the call that follows it.
    """

    def __init__(
        self,
        payloads: Sequence[Payload],
        *,
        streams: int,
        calls: float = math.inf,
        seconds: float = math.inf,
        pause_s: float = 0,
    ) -> None:
        self._payloads = payloads
        self._streams = streams
        self._calls = calls
        self._seconds = seconds
        self._pause_s = pause_s
        self._begun: dict[tuple[int, int], tuple[float, Payload]] = {}
        self._sent = 0
        self._until = math.inf
        self._over = asyncio.Event()
        self.ended: list[Ended] = []
        self.took_s = math.nan
        self.stalled_ms = 0.0
        """The longest time that this client itself was late to read its answers."""

    def __repr__(self) -> str:
        return f"<Asking: {self._sent} sent, {len(self._begun)} in flight>"

    async def run(self, address: str, connections: int, *, timeout_ms: int = 0) -> Asking:
        """Runs the loop to its end.

        `timeout_ms` is the deadline that calls tell the server; the client does not keep it.
        0: the calls have none.
        """
        max_concurrency = await open_lanes(
            address, connections, self._on_answers, timeout_ms=timeout_ms
        )
        began = perf_counter()
        self._until = began + self._seconds
        for lane in max_concurrency:
            self._fill(lane)
            lane.flush()
        watch = asyncio.create_task(self._watch())
        await self._end()
        self.took_s = perf_counter() - began
        watch.cancel()
        for lane in max_concurrency:
            lane.close()
        return self

    @property
    def unanswered(self) -> int:
        """Calls that never ended."""
        return self._sent - len(self.ended)

    @property
    def statuses(self) -> Counter[int]:
        """How many calls ended with each gRPC status."""
        return Counter(call.status for call in self.ended)

    @property
    def named(self) -> str:
        """The counts of `statuses` under their names, with the calls that never ended."""
        return str(by_name(self.statuses)) + (
            f", {self.unanswered} never answered" if self.unanswered else ""
        )

    @property
    def failed(self) -> int:
        """Calls that were not answered rightly."""
        return self._sent - self.statuses[OK] + len(self.wrong)

    @property
    def wrong(self) -> list[str]:
        """The faults of replies that came with status OK."""
        return faults_of([(call.reply, call.payload) for call in self.ended if call.status == OK])

    @property
    def goodput_per_s(self) -> float:
        """Calls answered rightly in each second of the run."""
        return (self._sent - self.failed) / self.took_s

    def latency_ms(self, percent: float, status: int = OK) -> float:
        """A percentile of the calls that ended with a status; NaN if none did."""
        return percentile(
            sorted(
                (call.ended_s - call.began_s) * 1e3 for call in self.ended if call.status == status
            ),
            percent,
        )

    async def _end(self) -> None:
        """Returns when all calls have ended, or when none has ended for a while.

        `unanswered` counts those that are left.
        """
        seen = -1
        while not self._over.is_set() and len(self.ended) != seen:
            seen = len(self.ended)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STUCK_AFTER_S):
                    await self._over.wait()

    async def _watch(self) -> None:
        """Measures how late the event loop wakes this task."""
        while True:
            asleep = perf_counter()
            await asyncio.sleep(POLL_S)
            self.stalled_ms = max(self.stalled_ms, (perf_counter() - asleep - POLL_S) * 1e3)

    def _fill(self, lane: Lane) -> None:
        while lane.connection.in_flight < self._streams and self._send(lane):
            pass

    def _send(self, lane: Lane) -> bool:
        now = perf_counter()
        payload = self._payloads[self._sent % len(self._payloads)]
        if (
            self._sent >= self._calls
            or now >= self._until
            or not lane.connection.has_room(payload.framed)
        ):
            return False
        self._begun[id(lane), lane.connection.call(payload.framed)] = (now, payload)
        self._sent += 1
        return True

    def _on_answers(self, lane: Lane, answers: list[Answer]) -> None:
        now = perf_counter()
        for stream, status, body in answers:
            began, payload = self._begun.pop((id(lane), stream))
            self.ended.append(Ended(began, now, status, body, payload))
            if self._pause_s:
                asyncio.get_running_loop().call_later(self._pause_s, self._go_on, lane)
        if not self._pause_s:
            self._fill(lane)
        self._look_whether_over(lane)

    def _go_on(self, lane: Lane) -> None:
        self._send(lane)
        lane.flush()
        self._look_whether_over(lane)

    def _look_whether_over(self, lane: Lane) -> None:
        no_more = (
            self._sent >= self._calls or perf_counter() >= self._until or lane.connection.going_away
        )
        if no_more and not self._begun:
            self._over.set()


def ask(address: str, payloads: Sequence[Payload], **options: float) -> Asking:
    """Runs one load by itself.

    The options are `connections` and `timeout_ms` of `Asking.run`, and all of `Asking`.
    """
    connections = int(options.pop("connections", 4))
    timeout_ms = int(options.pop("timeout_ms", 0))

    async def run() -> Asking:
        return await Asking(payloads, streams=int(options.pop("streams", 32)), **options).run(
            address, connections, timeout_ms=timeout_ms
        )

    return asyncio.run(run())
