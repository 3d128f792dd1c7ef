"""Fault trials: models that fail.

A version always fails, with a fallback and without; one request fails the batch that it is in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from statistics import median

from gateway.protocol.generated import gateway_control_pb2 as control
from load_tests.chaos.findings import Finding, at_most, exactly
from load_tests.chaos.gateways import Gateways, scaled
from load_tests.chaos.patient_loop import ask
from load_tests.figures import median_interval, take_turns
from load_tests.http2 import INTERNAL, OK, UNAVAILABLE

BROKEN = "broken"
FRAGILE = "fragile"
HEALTHY_FACTOR = 2.0
BROKEN_FACTOR = 5.0
TOO_MUCH = 700.0
MOST_ADDED_US = 100.0
MOST_REFUSAL_MS = 1.0
RESET_S = 1.0
BATCH = 64
COMPANY = (
    f"batching: {{max_queue_delay: 100ms, preferred_batch_sizes: [{BATCH}], "
    f"max_batch_size: {BATCH}}}\nbreaker: off\n"
)


def with_fallback(gateways: Gateways) -> Iterator[Finding]:
    """A version always fails, and an older one answers for it."""
    trial = "fails 100 %, fallback"
    settings = "versions: all\nfallback: [{version: 1}]\nbreaker: {reset_timeout: 600s}\n"
    good = scaled(BROKEN, 3.0, BROKEN_FACTOR)
    poison = scaled(BROKEN, TOO_MUCH, HEALTHY_FACTOR)
    directly = scaled(BROKEN, TOO_MUCH, HEALTHY_FACTOR, version="1")
    with gateways.gateway("with_fallback", {BROKEN: settings}, good) as gateway:
        load = ask(gateway.address, [poison], calls=1_000 if gateways.short else 20_000)
        (breaker,) = gateway.breakers(BROKEN, "2")
        yield exactly(trial, "failed calls", load.failed, 0, note=load.named)
        yield exactly(
            trial,
            "breaker",
            control.BreakerState.Name(breaker.state),
            "OPEN",
            note=f"after {breaker.window_failures} failed batches",
        )
        yield exactly(trial, "opened", breaker.opened, 1)
        contestants = {
            name: lambda payload=payload: ask(
                gateway.address, [payload], connections=1, streams=1, calls=300
            )
            for name, payload in {"fallback": poison, "directly": directly}.items()
        }
        runs = take_turns(contestants, 2 if gateways.short else 20, warm_up=1)
    yield exactly(
        trial,
        "failed calls while open",
        sum(run.failed for taken in runs.values() for run in taken),
        0,
    )
    p50 = {name: [run.latency_ms(50) * 1e3 for run in taken] for name, taken in runs.items()}
    added = median_interval(
        [ours - theirs for ours, theirs in zip(p50["fallback"], p50["directly"], strict=True)]
    )
    note = f"{added.low:.0f} to {added.high:.0f}; asked directly {median(p50['directly']):.0f} us"
    yield at_most(
        trial, "added latency while open (p50)", added.median, MOST_ADDED_US, " us", note=note
    )


def without_fallback(gateways: Gateways) -> Iterator[Finding]:
    """A version always fails, and nothing answers for it.

    Callers are refused at once, and one request in each interval is let through to probe.
    """
    trial = "fails 100 %, no fallback"
    seconds = gateways.seconds(20.0, 4.0)
    settings = f"versions: [2]\nbreaker: {{consecutive_failures: 3, reset_timeout: {RESET_S:g}s}}\n"
    good = scaled(BROKEN, 3.0, BROKEN_FACTOR)
    poison = scaled(BROKEN, TOO_MUCH, BROKEN_FACTOR)
    with gateways.gateway("without_fallback", {BROKEN: settings}, good, processes=2) as gateway:
        ask(gateway.address, [poison], connections=32, streams=2, seconds=1)
        before = {process.process: process.opened for process in gateway.breakers(BROKEN, "2")}
        load = ask(gateway.address, [poison], connections=32, streams=1, seconds=seconds)
        probes = {
            process.process: process.opened - before[process.process]
            for process in gateway.breakers(BROKEN, "2")
        }
        lone = ask(
            gateway.address, [poison], connections=1, streams=1, seconds=gateways.seconds(4, 1)
        )
    yield exactly(
        trial,
        "calls that ended otherwise",
        len(load.ended) - load.statuses[UNAVAILABLE] - load.statuses[INTERNAL] + load.unanswered,
        0,
    )
    yield exactly(
        trial,
        "processes with a breaker that opened",
        sum(opened > 0 for opened in before.values()),
        2,
    )
    yield exactly(
        trial,
        "callers that met a probe",
        load.statuses[INTERNAL],
        sum(probes.values()),
        note=f"of {len(load.ended)}",
    )
    intervals = int(load.took_s / RESET_S)
    many = max(probes.values()) <= intervals + 1
    yield exactly(
        trial,
        "at most one probe a process and interval",
        many,
        True,
        note=f"{probes} in {load.took_s:.1f} s",
    )
    yield Finding(
        trial,
        "no interval without a probe",
        f"{probes} in {load.took_s:.1f} s",
        min(probes.values()) >= intervals - 1,
    )
    note = f"p99 {lone.latency_ms(99, UNAVAILABLE):.2f} ms"
    yield at_most(
        trial,
        "UNAVAILABLE while open, alone (p50)",
        lone.latency_ms(50, UNAVAILABLE),
        MOST_REFUSAL_MS,
        " ms",
        note=note,
    )


def poisoned(gateways: Gateways) -> Iterator[Finding]:
    """One request in each batch fails the whole run."""
    good = [scaled(FRAGILE, float(n), BROKEN_FACTOR) for n in range(BATCH - 1)]
    poison = scaled(FRAGILE, TOO_MUCH, BROKEN_FACTOR)
    rounds = 20 if gateways.short else 200
    chance = random.Random(0)
    answered_right = 0
    failed_alone = 0
    with gateways.gateway("poisoned", {FRAGILE: COMPANY}, good[1]) as gateway:
        for _ in range(rounds):
            batch = [*good]
            batch.insert(chance.randrange(BATCH), poison)
            load = ask(gateway.address, batch, connections=1, streams=BATCH, calls=BATCH)
            right = not load.wrong and all(
                (call.status == OK) == (call.payload is not poison) for call in load.ended
            )
            answered_right += right and load.statuses[OK] == BATCH - 1
            failed_alone += load.statuses[INTERNAL] == 1
    yield exactly("one poisoned in 64", f"batches with {BATCH - 1} right", answered_right, rounds)
    yield exactly("one poisoned in 64", "batches with one failed", failed_alone, rounds)
