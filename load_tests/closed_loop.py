"""A closed loop over several payloads.

A fixed number of calls is always in flight: each answer starts the next call.

h2load does the same for one payload and at less cost; this one exists for loads that touch many
models in turn. Every reply is checked by value after the run.

    .venv/bin/python -m load_tests.closed_loop [--models 100] [--calls 20000] [--address HOST:PORT]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from load_tests.benchmark_models import build, copy_name
from load_tests.figures import Slice, percentile
from load_tests.http2 import OK, Answer
from load_tests.lanes import Lane, by_name, open_lanes
from load_tests.payloads import Payload, faults_of, make_payload
from load_tests.servers import add_target_options, choose_cores, target

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_S = 120


class ClosedLoop:
    """Sends `calls` calls in all, payloads in turn, at most `streams` at a time on each lane."""

    def __init__(self, payloads: Sequence[Payload], *, calls: int, streams: int) -> None:
        self._payloads = [(payload, payload.framed) for payload in payloads]
        self._calls = calls
        self._streams = streams
        self._sent = 0
        self._ended = 0
        self._begun: dict[tuple[int, int], tuple[float, Payload]] = {}
        self._done = asyncio.Event()
        self.latencies_s: list[float] = []
        self.replies: list[tuple[bytes, Payload]] = []
        self.statuses: Counter[int] = Counter()

    def __repr__(self) -> str:
        return (
            f"<ClosedLoop: {self._ended} of {self._calls} calls ended, "
            f"{len(self._begun)} in flight>"
        )

    async def run(self, address: str, connections: int) -> float:
        """Runs the load and returns how long it took, in seconds."""
        max_concurrency = await open_lanes(address, connections, self._on_answers)
        start = perf_counter()
        for lane in max_concurrency:
            self._fill(lane)
            lane.flush()
        with contextlib.suppress(TimeoutError):  # the counts show calls that were never answered
            async with asyncio.timeout(LONGEST_S):
                await self._done.wait()
        took = perf_counter() - start
        for lane in max_concurrency:
            lane.close()
        return took

    def _fill(self, lane: Lane) -> None:
        connection = lane.connection
        now = perf_counter()
        while self._sent < self._calls and connection.in_flight < self._streams:
            payload, framed = self._payloads[self._sent % len(self._payloads)]
            if not connection.has_room(framed):
                break
            self._begun[id(lane), connection.call(framed)] = (now, payload)
            self._sent += 1

    def _on_answers(self, lane: Lane, answers: list[Answer]) -> None:
        now = perf_counter()
        for stream, status, body in answers:
            begun, payload = self._begun.pop((id(lane), stream))
            self.statuses[status] += 1
            if status == OK:
                self.latencies_s.append(now - begun)
                self.replies.append((body, payload))
        self._ended += len(answers)
        self._fill(lane)
        stuck = lane.connection.going_away and not self._begun
        if self._ended == self._calls or stuck:
            self._done.set()


async def run_closed_loop(
    address: str, payloads: Sequence[Payload], *, connections: int, streams: int, calls: int
) -> Slice:
    """Runs the load once.

    The slice's fault names a wrong reply, or the statuses of calls that failed.
    """
    load = ClosedLoop(payloads, calls=calls, streams=streams)
    took = await load.run(address, connections)
    faults = faults_of(load.replies)
    if load.statuses != {OK: calls}:
        faults.append(f"{calls} calls ended as {by_name(load.statuses)}")
    ordered = sorted(load.latencies_s)
    fault = f"{len(faults)} faults, the last: {faults[-1]}" if faults else ""
    return Slice(
        len(load.replies) / took,
        percentile(ordered, 50) * 1e3,
        percentile(ordered, 99) * 1e3,
        fault,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        type=int,
        default=100,
        help="how many models the calls are spread over (default 100)",
    )
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument(
        "--streams", type=int, default=32, help="calls in flight on each connection (default 32)"
    )
    add_target_options(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        models = Path(tmp) / "models"
        build(models, copies=args.models)
        payloads = [make_payload(models, copy_name(number)) for number in range(args.models)]
        with target(args, models, payloads[0], Path(tmp) / "server.log") as address:
            os.sched_setaffinity(0, {choose_cores().generator})
            run = run_closed_loop(
                address,
                payloads,
                connections=args.connections,
                streams=args.streams,
                calls=args.calls,
            )
            result = asyncio.run(run)
    print(
        f"{result.calls_per_s:.0f} calls/s  p50 {result.p50_ms:.2f} ms  p99 {result.p99_ms:.2f} "
        f"ms  {result.fault or 'every reply right'}"
    )
    if result.fault:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
