"""An open loop: calls leave at a fixed rate, whatever the server does.

That is how the calls of independent callers come.

Latency counts from the moment a call was meant to leave, not from when it left: a server (or a
generator) that stalls cannot hide the calls that were due meanwhile. Each call has a deadline, sent
to the server and kept here; goodput is what was answered right within it.

    .venv/bin/python -m load_tests.open_loop [--rate 5000] [--seconds 5] [--deadline-ms 100]
    [--poisson] [--model small]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import tempfile
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import grpc
import numpy as np

from load_tests.benchmark_models import build
from load_tests.figures import percentile
from load_tests.http2 import OK, Answer
from load_tests.lanes import Lane, by_name, open_lanes
from load_tests.payloads import Payload, faults_of, make_payload
from load_tests.servers import add_target_options, choose_cores, target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEADLINE_EXCEEDED: int = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
PERCENTS = (50, 90, 99, 99.9, 100)
SPIN_S = 0.0015
_TRIES = 8  # attempts to find a call whose time is not over
VARIANTS = 16  # different rows, so that an answer given to the wrong call shows


@dataclass
class Call:
    """One call of the schedule; its times are in seconds from the start of the load."""

    intended_s: float
    payload: Payload
    left_s: float = np.nan
    ended_s: float = np.nan
    status: int = -1
    """The gRPC status code; -1 until the call has ended."""
    reply: bytes = b""
    sent_by: tuple[Lane, int] | None = None
    """Connection and stream; None until the call has left."""


class QueuedRequest:
    """Calls that wait for room on a connection.

    The first to come is the first to go, as in gRPC's C core.
    Where they are `shuffled` any of them may be next, as among the callers of grpc-go.
    """

    def __init__(self, *, shuffled: bool) -> None:
        self._calls: deque[Call] = deque()
        self._random = random.Random(0) if shuffled else None

    def __bool__(self) -> bool:
        while self._calls and self._calls[0].status >= 0:
            self._calls.popleft()
        return bool(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call) -> None:
        """Puts a call into the queue."""
        self._calls.append(call)

    @property
    def next(self) -> Call:
        """The call that goes next; one whose time is over never does.

        There must be one: ask `bool(queue)` before.
        """
        if self._random is not None and len(self._calls) > 1:
            for _ in range(_TRIES):
                at = self._random.randrange(len(self._calls))
                if self._calls[at].status < 0:
                    self._calls[at], self._calls[0] = self._calls[0], self._calls[at]
                    break
        return self._calls[0]

    def take(self) -> Call:
        """Removes the call that `next` named and returns it."""
        return self._calls.popleft()


def intended_times(
    rate: float, seconds: float, *, poisson: bool = False, seed: int = 0
) -> NDArray[np.float64]:
    """When calls are meant to leave, in seconds.

    The calls are evenly spaced, or come as a Poisson process of the same mean rate.
    """
    if not poisson:
        return np.arange(int(rate * seconds)) / rate
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds * 1.5) + 100)
    times = np.cumsum(gaps)
    return times[times < seconds]


class OpenLoop:
    """Sends each call at its intended time over the next lane with room.

    A call without room waits here while its deadline runs.
    """

    def __init__(self, calls: Sequence[Call], *, deadline_s: float, shuffled: bool = False) -> None:
        """Takes the calls of the schedule, each of which has `deadline_s` from its intended time.

        Calls that wait for room leave in random order where they are `shuffled`, as in grpc-go.
        Otherwise the first to come is the first to go, as in gRPC's C core.
        """
        self.calls = calls
        self.deadline_s = deadline_s
        self._max_concurrency: list[Lane] = []
        self._waiting = QueuedRequest(shuffled=shuffled)
        self._in_flight: dict[tuple[int, int], Call] = {}
        self._start = 0.0
        self._oldest = 0

    def __repr__(self) -> str:
        return (
            f"<OpenLoop: {len(self._waiting)} waiting, {len(self._in_flight)} in "
            f"flight of {len(self.calls)} calls>"
        )

    async def run(self, address: str, connections: int) -> None:
        """Runs the whole schedule; every call has ended when it returns."""
        timeout_ms = max(1, round(self.deadline_s * 1e3))
        self._max_concurrency = await open_lanes(
            address, connections, self._on_answers, timeout_ms=timeout_ms
        )
        self._start = perf_counter()
        due = 0
        while due < len(self.calls) or self._waiting or self._in_flight:
            now = self._now()
            while due < len(self.calls) and self.calls[due].intended_s <= now:
                self._waiting.add(self.calls[due])
                due += 1
            self._expire(now)
            self._send()
            early = self.calls[due].intended_s - self._now() if due < len(self.calls) else SPIN_S
            # asyncio's timers are a millisecond coarse, so the last bit is waited for by polling;
            # the generator has a core to itself.
            await asyncio.sleep(early - SPIN_S if early > SPIN_S else 0)
        for lane in self._max_concurrency:
            lane.close()

    def _now(self) -> float:
        return perf_counter() - self._start

    def _send(self) -> None:
        skipped = 0
        while self._waiting and skipped < len(self._max_concurrency):
            lane = self._max_concurrency[0]
            message = self._waiting.next.payload.framed
            self._max_concurrency.append(self._max_concurrency.pop(0))
            if not lane.connection.has_room(message):
                skipped += 1
                continue
            call = self._waiting.take()
            stream = lane.connection.call(message)
            skipped = 0
            call.left_s = self._now()
            self._in_flight[id(lane), stream] = call
            call.sent_by = lane, stream
        for lane in self._max_concurrency:
            lane.flush()

    def _on_answers(self, lane: Lane, answers: list[Answer]) -> None:
        now = self._now()
        for stream, status, body in answers:
            call = self._in_flight.pop((id(lane), stream))
            call.ended_s = now
            call.status = status
            call.reply = body

    def _expire(self, now: float) -> None:
        while (
            self._oldest < len(self.calls)
            and (call := self.calls[self._oldest]).intended_s + self.deadline_s <= now
        ):
            self._oldest += 1
            if call.status >= 0:
                continue
            call.ended_s = now
            call.status = DEADLINE_EXCEEDED
            if call.sent_by is not None:
                lane, stream = call.sent_by
                del self._in_flight[id(lane), stream]
                lane.connection.cancel(stream)


@dataclass(frozen=True)
class Report:
    """What an open loop found; latencies are of the calls answered, from their intended times."""

    offered_per_s: float
    goodput_per_s: float
    latency_ms: dict[str, float]
    left_late_p99_ms: float
    statuses: dict[str, int]
    faults: list[str]

    def __str__(self) -> str:
        latency = "  ".join(f"{name} {value:.2f}" for name, value in self.latency_ms.items())
        return (
            f"offered {self.offered_per_s:.0f}/s, goodput {self.goodput_per_s:.0f}/s\n"
            f"latency from the intended time, ms: {latency}\n"
            f"calls left late by (p99) {self.left_late_p99_ms:.2f} ms\n"
            f"statuses: {self.statuses}\n"
            + (
                f"{len(self.faults)} WRONG, the first: {self.faults[0]}"
                if self.faults
                else "every reply right"
            )
        )


def report(calls: Sequence[Call], *, seconds: float, deadline_s: float) -> Report:
    """Sums up calls that have all ended; each reply is compared by value."""
    answered = [call for call in calls if call.status == OK]
    latencies_ms = sorted((call.ended_s - call.intended_s) * 1e3 for call in answered)
    late_ms = sorted(
        (call.left_s - call.intended_s) * 1e3 for call in calls if not math.isnan(call.left_s)
    )
    faults = faults_of([(call.reply, call.payload) for call in answered])
    in_time = bisect_right(latencies_ms, deadline_s * 1e3)
    return Report(
        offered_per_s=len(calls) / seconds,
        goodput_per_s=max(0, in_time - len(faults)) / seconds,
        latency_ms={f"p{percent:g}": percentile(latencies_ms, percent) for percent in PERCENTS},
        left_late_p99_ms=percentile(late_ms, 99),
        statuses=by_name(Counter(call.status for call in calls)),
        faults=faults,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=5000, help="calls a second (default 5000)")
    parser.add_argument("--seconds", type=float, default=5, help="how long calls leave (default 5)")
    parser.add_argument(
        "--deadline-ms", type=float, default=100, help="from the intended time (default 100)"
    )
    parser.add_argument(
        "--poisson", action="store_true", help="calls leave at random moments instead of evenly"
    )
    parser.add_argument("--model", choices=("small", "mid", "slow"), default="small")
    parser.add_argument(
        "--shuffled",
        action="store_true",
        help="who waits for room goes in random order (grpc-go), not first come first (C core)",
    )
    parser.add_argument("--connections", type=int, default=4)
    add_target_options(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        build(Path(tmp) / "models")
        payloads = [
            make_payload(Path(tmp) / "models", args.model, seed=seed) for seed in range(VARIANTS)
        ]
        times = intended_times(args.rate, args.seconds, poisson=args.poisson)
        load = OpenLoop(
            [Call(at, payloads[k % VARIANTS]) for k, at in enumerate(times)],
            deadline_s=args.deadline_ms / 1e3,
            shuffled=args.shuffled,
        )
        with target(args, Path(tmp) / "models", payloads[0], Path(tmp) / "server.log") as address:
            os.sched_setaffinity(0, {choose_cores().generator})
            asyncio.run(load.run(address, args.connections))
    result = report(load.calls, seconds=args.seconds, deadline_s=load.deadline_s)
    print(result)
    if result.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
