"""Fault trials: processes, servers and clients that are lost.

Worker processes are killed, a remote server freezes, and clients vanish.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from load_tests.chaos.findings import Finding, at_least, at_most, exactly
from load_tests.chaos.gateways import Gateway, Gateways, until
from load_tests.chaos.patient_loop import Asking, ask
from load_tests.figures import paired_ratio
from load_tests.http2 import OK
from load_tests.lanes import open_lanes
from load_tests.open_loop import VARIANTS, Call, OpenLoop, Report, intended_times, report
from load_tests.payloads import Payload
from load_tests.processes import usage
from load_tests.servers import check

KILL_EVERY_S = 2.0
LOAD = 0.5
PATIENCE_S = 5.0
MOST_P90 = 3.0
LEAST_GOODPUT = 0.95
MOST_GROWTH = 1.1
DEADLINE_MS = 200
MOST_LATE_MS = 50
# 86 connections of 48 calls, the server's default limit, come to 4 128
LANES = 86
STREAMS = 48
SETTLED_AFTER = 5  # disconnects until memory counts


def killed_workers(gateways: Gateways) -> Iterator[Finding]:
    """One of two worker processes is killed again and again.

    The load is half of what both together can serve.
    """
    trial = "killed workers"
    payloads = gateways.payloads("mid")
    with gateways.gateway(
        "killed", {"mid": "workers: {kind: process, count: 2}\n"}, payloads[0]
    ) as gateway:
        capacity = ask(gateway.address, payloads, seconds=gateways.seconds(4, 1)).goodput_per_s
        normal = asyncio.run(
            _steady(gateway, payloads, capacity * LOAD, gateways.seconds(20, 3), kills=False)
        )[0]
        found, killed = asyncio.run(
            _steady(gateway, payloads, capacity * LOAD, gateways.seconds(60, 10), kills=True)
        )
    yield exactly(
        trial,
        "failed calls",
        sum(found.statuses.values()) - found.statuses.get("OK", 0),
        0,
        note=f"{killed} kills, {found.statuses}",
    )
    yield exactly(trial, "wrong replies", len(found.faults) + len(normal.faults), 0)
    p90 = found.latency_ms["p90"]
    usual = normal.latency_ms["p90"]
    note = (
        f"{p90:.2f} of {usual:.2f} ms at {capacity * LOAD:.0f}/s; p99 "
        f"{found.latency_ms['p99']:.2f} of {normal.latency_ms['p99']:.2f}"
    )
    yield at_most(trial, "p90 of normal", p90 / usual, MOST_P90, note=note)


async def _steady(
    gateway: Gateway, payloads: list[Payload], rate: float, seconds: float, *, kills: bool
) -> tuple[Report, int]:
    times = intended_times(rate, seconds, poisson=True)
    load = OpenLoop(
        [Call(at, payloads[k % VARIANTS]) for k, at in enumerate(times)], deadline_s=PATIENCE_S
    )
    killer = asyncio.create_task(_kill(gateway, seconds)) if kills else None
    await load.run(gateway.address, 4)
    return report(load.calls, seconds=seconds, deadline_s=PATIENCE_S), await killer if killer else 0


async def _kill(gateway: Gateway, seconds: float) -> int:
    """Kills one worker in each interval, in turn, and returns how many it has killed.

    A worker that is alone is spared, since the trial is about the loss of one of two.
    """
    killed = 0
    for _ in range(int(seconds / KILL_EVERY_S) - 1):
        await asyncio.sleep(KILL_EVERY_S)
        workers = await asyncio.to_thread(lambda: gateway.worker_pids)
        if len(workers) > 1:
            os.kill(workers[killed % 2], signal.SIGKILL)
            killed += 1
    return killed


def frozen_remote(gateways: Gateways) -> Iterator[Finding]:
    """A remote server that runs one model for the gateway freezes, its connections left open.

    The gateway serves another model meanwhile.
    """
    trial = "frozen remote"
    mids = gateways.payloads("mid")
    smalls = gateways.payloads("small")
    with gateways.gateway("remote", {"mid": ""}, mids[0], core=gateways.cores.generator) as remote:
        settings = {
            "mid": f"local: false\nremotes: ['{remote.address}']\nbreaker: {{reset_timeout: 1s}}\n",
            "small": "",
        }
        with gateways.gateway("before_remote", settings, smalls[0]) as gateway:
            asyncio.run(_both(gateway, mids, smalls, 0.5))
            normal = []
            frozen = []
            for _ in range(2 if gateways.short else 8):
                normal.append(asyncio.run(_both(gateway, mids, smalls, gateways.seconds(2, 1))))
                _signal(remote, signal.SIGSTOP)
                try:
                    frozen.append(asyncio.run(_both(gateway, mids, smalls, gateways.seconds(2, 1))))
                finally:
                    _signal(remote, signal.SIGCONT)
                until(lambda: _answers(gateway, mids[0]))
    stuck = [mid for mid, _ in frozen]
    latest_ms = max((call.ended_s - call.began_s) * 1e3 for mid in stuck for call in mid.ended)
    yield exactly(
        trial,
        "callers never answered",
        sum(mid.unanswered for mid in stuck),
        0,
        note=stuck[-1].named,
    )
    note = f"the client itself was up to {max(mid.stalled_ms for mid in stuck):.0f} ms late"
    yield at_most(
        trial,
        f"longest wait, deadline {DEADLINE_MS} ms",
        latest_ms,
        DEADLINE_MS + MOST_LATE_MS,
        " ms",
        note=note,
    )
    yield exactly(
        trial, "failed calls of another model", sum(small.failed for _, small in normal + frozen), 0
    )
    ratio = paired_ratio(
        [small.goodput_per_s for _, small in frozen], [small.goodput_per_s for _, small in normal]
    )
    yield at_least(
        trial,
        "another model's goodput of normal",
        ratio.median,
        LEAST_GOODPUT,
        note=f"{ratio}, {normal[-1][1].goodput_per_s:.0f}/s",
    )


async def _both(
    gateway: Gateway, mids: list[Payload], smalls: list[Payload], seconds: float
) -> tuple[Asking, Asking]:
    remote = Asking(mids, streams=8, seconds=seconds, pause_s=0.05)
    local = Asking(smalls, streams=32, seconds=seconds)
    await asyncio.gather(
        remote.run(gateway.address, 1, timeout_ms=DEADLINE_MS), local.run(gateway.address, 4)
    )
    return remote, local


def _signal(gateway: Gateway, number: int) -> None:
    for pid in gateway.serving_pids:
        os.kill(pid, number)


def _answers(gateway: Gateway, payload: Payload) -> bool:
    return (
        ask(
            gateway.address, [payload], connections=1, streams=1, calls=1, timeout_ms=1000
        ).statuses[OK]
        == 1
    )


def mass_disconnect(gateways: Gateways) -> Iterator[Finding]:
    """4 096 calls in flight, and all their connections are dropped at once, again and again."""
    trial = "mass disconnect"
    payloads = gateways.payloads("slow")
    rounds = SETTLED_AFTER if gateways.short else 100
    fresh = gateways.payloads("small")[0]
    answered = 0
    settled_mib = math.nan
    in_flight = []
    settings = {"slow": f"admission: {{max_in_flight: {LANES * STREAMS + 100}}}\n", "small": ""}
    with gateways.gateway("disconnect", settings, fresh) as gateway:
        (pid,) = gateway.serving_pids
        for number in range(1, rounds + 1):
            in_flight.append(asyncio.run(_vanish(gateway.address, payloads[0])))
            answered += check(gateway.address, fresh) > 0
            if number == SETTLED_AFTER:
                settled_mib = usage(pid).resident_mib
                descriptors = usage(pid).descriptors
        last = ask(gateway.address, payloads, connections=1, streams=4, calls=20)
        alive = gateway.serving_pids == [pid] and Path(f"/proc/{pid}").exists()
        after = usage(pid)
    yield exactly(
        trial,
        "fresh calls answered",
        answered,
        rounds,
        note=f"{min(in_flight)} calls in flight or more",
    )
    yield exactly(trial, "the serving process lives on", alive, expected=True)
    yield exactly(
        trial, "failed calls of the same model afterwards", last.failed, 0, note=last.named
    )
    kept = max(0, after.descriptors - descriptors)
    yield at_most(trial, "connections kept", kept, LANES)
    note = f"{settled_mib:.0f} -> {after.resident_mib:.0f} MiB"
    yield at_most(
        trial, "memory of after the fifth", after.resident_mib / settled_mib, MOST_GROWTH, note=note
    )


async def _vanish(address: str, payload: Payload) -> int:
    """Drops connections with calls in flight, and returns how many calls that were."""
    max_concurrency = await open_lanes(address, LANES, lambda _lane, _answers: None)
    for lane in max_concurrency:
        for _ in range(STREAMS):
            if lane.connection.has_room(payload.framed):
                lane.connection.call(payload.framed)
        lane.flush()
    await asyncio.sleep(0.15)  # the server has begun many calls by now and not read others
    in_flight = sum(lane.connection.in_flight for lane in max_concurrency)
    for lane in max_concurrency:
        lane.abort()
    return in_flight
