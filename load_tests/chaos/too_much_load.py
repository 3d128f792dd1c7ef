"""Fault trials: more than can be served, and what refusing costs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from statistics import median

from load_tests import overload
from load_tests.benchmark_models import copy_name
from load_tests.chaos.findings import Finding, at_least, at_most, exactly
from load_tests.chaos.gateways import Gateway, Gateways
from load_tests.chaos.patient_loop import Asking, ask
from load_tests.figures import paired_ratio, take_turns
from load_tests.http2 import RESOURCE_EXHAUSTED, UNAVAILABLE, Answer
from load_tests.lanes import by_name, open_lanes
from load_tests.payloads import Payload
from load_tests.servers import GATEWAY

OVERLOAD_S = 60.0
SHORT_OVERLOAD_S = 3.0
LEAST_GOODPUT_OUTSTANDING = 0.9
MOST_REFUSAL_COST = {"mid": 0.6, "small": 1.0}
"""Most of the server's time for a refused call, as a share of that for a served one.

A served call of `small` spends two thirds of it in gRPC's core, which a refused call pays as well;
nothing that the gateway does can bring that model to 0.6.
"""
HELD = 8
FULL = (
    "batching: {max_queue_delay: 600s, preferred_batch_sizes: [64], max_batch_size: 64}\n"
    f"admission: {{max_in_flight: {HELD}}}\n"
)
"""A model.yaml whose batches wait for more rows than can come: its calls stay in flight."""


def overloaded(gateways: Gateways, seconds: float) -> Iterator[Finding]:
    """Twice as many calls as can be served, with deadlines."""
    for model in overload.MUST:
        log = gateways.folder / f"overload_{model}.log"
        found = overload.run_trial(
            model, gateways.models, log, GATEWAY, seconds, cores=gateways.cores, shuffled=True
        )
        trial = f"2x overload, {model}"
        note = (
            f"{found.report.goodput_per_s:.0f} of "
            f"{found.capacity_per_s:.0f}/s, {found.report.statuses}"
        )
        yield exactly(trial, "wrong replies", len(found.report.faults), 0)
        yield at_least(trial, "goodput of capacity", found.goodput, overload.MUST[model], note=note)
        yield at_most(
            trial,
            "p50 of answered calls",
            found.report.latency_ms["p50"],
            overload.MOST_P50_MS,
            " ms",
        )
        lone = f"{found.lone_before_ms:.2f} -> {found.lone_after_ms:.2f} ms"
        yield at_most(
            trial,
            "lone call afterwards, of before",
            found.lone_after_ms / found.lone_before_ms,
            overload.MOST_LONE,
            note=lone,
        )
        memory = f"{found.memory_before_mib:.0f} -> {found.memory_after_mib:.0f} MiB"
        yield at_most(
            trial,
            "memory afterwards, of before",
            found.memory_after_mib / found.memory_before_mib,
            overload.MOST_GROWTH,
            note=memory,
        )


def outstanding(gateways: Gateways) -> Iterator[Finding]:
    """4 096 calls without deadlines are outstanding at once.

    On 86 connections all of them are at the server; on 4 most of them wait on the client's side.
    """
    payloads = gateways.payloads("small")
    seconds = gateways.seconds(2.0, 0.5)
    turns = 2 if gateways.short else 6
    loads = {"peak": (4, 32), "86 connections": (86, 48), "4 connections": (4, 1024)}
    with gateways.gateway("outstanding", {"small": ""}, payloads[0]) as gateway:
        contestants = {
            name: lambda connections=connections, streams=streams: ask(
                gateway.address, payloads, connections=connections, streams=streams, seconds=seconds
            )
            for name, (connections, streams) in loads.items()
        }
        runs = take_turns(contestants, turns, warm_up=1)
    rates = {name: [run.goodput_per_s for run in taken] for name, taken in runs.items()}
    yield exactly(
        "4 096 outstanding",
        "failed calls",
        sum(run.failed for taken in runs.values() for run in taken),
        0,
    )
    for name in loads:
        if name != "peak":
            ratio = paired_ratio(rates[name], rates["peak"])
            note = f"{median(rates[name]):.0f} of {median(rates['peak']):.0f}/s"
            yield at_least(
                f"4 096 outstanding, {name}",
                "goodput of the peak",
                ratio.median,
                LEAST_GOODPUT_OUTSTANDING,
                note=note,
            )


def refused(gateways: Gateways) -> Iterator[Finding]:
    """Compares the server's processor time for a call that it refuses with one that it serves."""
    for model, most in MOST_REFUSAL_COST.items():
        yield from _refused(gateways, model, most)


def _refused(gateways: Gateways, model: str, most: float) -> Iterator[Finding]:
    unavailable = copy_name(0, of=model)
    full = copy_name(1, of=model)
    payloads = {name: gateways.payloads(name) for name in (model, unavailable, full)}
    with gateways.gateway(
        f"refused_{model}", {model: "", unavailable: "", full: FULL}, payloads[model][0]
    ) as gateway:
        gateway.force_open(unavailable)
        costs, runs = asyncio.run(_costs(gateways, gateway, payloads, full))
    calls = {
        name: sum(len(run.ended) + run.unanswered for run in taken) for name, taken in runs.items()
    }
    yield exactly(
        f"refused call, {model}", "served wrongly", sum(run.failed for run in runs[model]), 0
    )
    for name, status, what in (
        (unavailable, UNAVAILABLE, "open breaker"),
        (full, RESOURCE_EXHAUSTED, "no room"),
    ):
        trial = f"refused call, {model}, {what}"
        yield exactly(
            trial,
            "calls not refused so",
            calls[name] - sum(run.statuses[status] for run in runs[name]),
            0,
        )
        ratio = paired_ratio(costs[name], costs[model])
        note = f"{median(costs[name]) * 1e6:.1f} of {median(costs[model]) * 1e6:.1f} us"
        yield at_most(trial, "CPU of a served one", ratio.median, most, note=note)


async def _costs(
    gateways: Gateways, gateway: Gateway, payloads: dict[str, list[Payload]], full: str
) -> tuple[dict[str, list[float]], dict[str, list[Asking]]]:
    costs: dict[str, list[float]] = {name: [] for name in payloads}
    runs: dict[str, list[Asking]] = {name: [] for name in payloads}
    async with _held(gateway.address, payloads[full][0]):
        for turn in range(1 if gateways.short else 6):
            for name in sorted(payloads, reverse=turn % 2 == 1):
                before = gateway.cpu_s()
                run = await Asking(
                    payloads[name], streams=32, calls=2_000 if gateways.short else 20_000
                ).run(gateway.address, 4)
                costs[name].append((gateway.cpu_s() - before) / len(run.ended))
                runs[name].append(run)
    return costs, runs


@contextlib.asynccontextmanager
async def _held(address: str, payload: Payload) -> AsyncIterator[None]:
    """As many calls as may be in flight wait at the server while this is entered.

    Raises ConnectionError where one of them was answered.
    """
    answered: list[Answer] = []
    (lane,) = await open_lanes(address, 1, lambda _lane, answers: answered.extend(answers))
    try:
        for _ in range(HELD):
            lane.connection.call(payload.framed)
        lane.flush()
        await asyncio.sleep(0.5)  # nothing tells a caller that its call waits
        if answered:
            raise ConnectionError(
                "calls that should wait were answered: "
                f"{by_name(Counter(answer.status for answer in answered))}"
            )
        yield
    finally:
        lane.abort()
