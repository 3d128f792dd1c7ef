"""Offers twice as many calls as can be served, each with a deadline.

It measures what is still answered in time, and what is left when the load is over.

Capacity is measured first, by a closed loop on the same server; then an open loop offers twice
that. Goodput is what was answered right and within the deadline, as a share of the capacity.
Afterwards a lone call must be as quick as before and the memory given back.

    .venv/bin/python -m load_tests.overload [--models slow,mid,small] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from load_tests.benchmark_models import build
from load_tests.closed_loop import run_closed_loop
from load_tests.figures import percentile
from load_tests.open_loop import VARIANTS, Call, OpenLoop, Report, intended_times, report
from load_tests.payloads import METHOD, Payload, make_payload
from load_tests.servers import GATEWAY, Cores, Server, choose_cores, serving

MUST = {"slow": 0.90, "mid": 0.75, "small": 0.50}
CONNECTIONS = 4
STREAMS = 32
DEADLINE_S = 0.1
TIMES = 2.0
CALM_S = 2.0
MOST_P50_MS = 60.0
MOST_GROWTH = 1.3
MOST_LONE = 1.5
LONE_CALLS = 300


@dataclass(frozen=True)
class Trial:
    """The figures of one model."""

    model: str
    capacity_per_s: float
    report: Report
    lone_before_ms: float
    lone_after_ms: float
    memory_before_mib: float
    memory_after_mib: float

    @property
    def goodput(self) -> float:
        """The goodput as a share of the capacity."""
        return self.report.goodput_per_s / self.capacity_per_s

    @property
    def faults(self) -> list[str]:
        """Each figure that fell short, with what was measured and what must be."""
        least = MUST[self.model]
        p50_ms = self.report.latency_ms["p50"]
        slower = self.lone_after_ms / self.lone_before_ms
        larger = self.memory_after_mib / self.memory_before_mib
        must = {
            f"goodput {self.goodput:.2f} of the capacity, at least {least:.2f}": self.goodput
            >= least,
            f"p50 {p50_ms:.1f} ms, at most {MOST_P50_MS:.0f}": p50_ms <= MOST_P50_MS,
            f"a lone call {slower:.2f} times as long as before": slower <= MOST_LONE,
            f"memory {larger:.2f} times of before": larger <= MOST_GROWTH,
        }
        return [text for text, holds in must.items() if not holds] + self.report.faults[:1]

    def __str__(self) -> str:
        return (
            f"{self.model:6} capacity {self.capacity_per_s:.0f}/s, offered "
            f"{self.report.offered_per_s:.0f}/s: goodput {self.goodput:.2f} "
            f"({self.report.goodput_per_s:.0f}/s), p50 {self.report.latency_ms['p50']:.1f} ms, p99 "
            f"{self.report.latency_ms['p99']:.1f} ms; lone call {self.lone_before_ms:.2f} -> "
            f"{self.lone_after_ms:.2f} ms; memory {self.memory_before_mib:.0f} -> "
            f"{self.memory_after_mib:.0f} MiB; {self.report.statuses}"
        )


def lone_p50_ms(address: str, payload: Payload) -> float:
    """The median latency of calls made one after the other, in milliseconds."""
    times = []
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(METHOD)
        for _ in range(LONE_CALLS if payload.model != "slow" else LONE_CALLS // 6):
            began = time.perf_counter()
            call(payload.message, timeout=10)
            times.append((time.perf_counter() - began) * 1e3)
    return percentile(sorted(times), 50)


def run_trial(
    model: str,
    models: Path,
    log: Path,
    command: str,
    seconds: float,
    *,
    cores: Cores,
    shuffled: bool,
) -> Trial:
    """Measures one model on a server of its own."""
    payloads = [make_payload(models, model, seed=seed) for seed in range(VARIANTS)]
    with serving(command, models, payloads[0], log, core=cores.server) as server:
        os.sched_setaffinity(0, {cores.generator})
        capacity = _capacity_per_s(server, payloads, 600 if model == "slow" else 40_000)
        time.sleep(CALM_S)
        lone_before_ms = lone_p50_ms(server.address, payloads[0])
        memory_before_mib = server.memory_mib()
        times = intended_times(TIMES * capacity, seconds, poisson=True)
        load = OpenLoop(
            [Call(at, payloads[k % VARIANTS]) for k, at in enumerate(times)],
            deadline_s=DEADLINE_S,
            shuffled=shuffled,
        )
        asyncio.run(load.run(server.address, CONNECTIONS))
        time.sleep(CALM_S)
        lone_after_ms = lone_p50_ms(server.address, payloads[0])
        memory_after_mib = server.memory_mib()
    found = report(load.calls, seconds=seconds, deadline_s=DEADLINE_S)
    return Trial(
        model, capacity, found, lone_before_ms, lone_after_ms, memory_before_mib, memory_after_mib
    )


def _capacity_per_s(server: Server, payloads: list[Payload], calls: int) -> float:
    runs = [
        asyncio.run(
            run_closed_loop(
                server.address, payloads, connections=CONNECTIONS, streams=STREAMS, calls=calls
            )
        ).calls_per_s
        for _ in range(3)
    ]
    return sorted(runs)[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", default="slow,mid,small", help="which, comma-separated (default all three)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long the overload lasts (default 60)"
    )
    parser.add_argument(
        "--first-come",
        action="store_true",
        help="callers that wait for room go first come first, as gRPC's C core has it",
    )
    parser.add_argument(
        "--gateway",
        default=GATEWAY,
        metavar="CMD",
        help="how to start it, with {models}, {port} and {http}",
    )
    args = parser.parse_args()
    short = []
    cores = choose_cores()
    with tempfile.TemporaryDirectory() as tmp:
        build(Path(tmp) / "models")
        for model in args.models.split(","):
            trial = run_trial(
                model,
                Path(tmp) / "models",
                Path(tmp) / "log",
                args.gateway,
                args.seconds,
                cores=cores,
                shuffled=not args.first_come,
            )
            print(trial, flush=True)
            short += [f"{model}: {fault}" for fault in trial.faults]
    if short:
        raise SystemExit("FELL SHORT\n" + "\n".join(short))


if __name__ == "__main__":
    main()
