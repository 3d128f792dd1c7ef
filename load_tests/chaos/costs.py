"""Fault trials: what the protections cost while nothing is wrong.

Worker processes are compared with threads, and all protections on with all of them off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from statistics import median

from load_tests.benchmark_models import OUTPUT, SMALL
from load_tests.chaos.findings import Finding, at_least, exactly
from load_tests.chaos.gateways import Gateways
from load_tests.chaos.patient_loop import ask
from load_tests.figures import paired_ratio, take_turns

LEAST_RATE_OF_PROCESSES = {"mid": 0.85, "small": 0.6}
LEAST_RATE_PROTECTED = 0.9
ON = f"""\
breaker: {{consecutive_failures: 5, failure_rate: 0.5, window: 30s, slow_call: 10s}}
retry: {{attempts: 2, budget: 0.2}}
fallback: [{{constant: {{{OUTPUT}: {[0.0] * SMALL[-1]}}}}}]
output_guard: {{finite: true, ranges: {{{OUTPUT}: [0, 1.001]}}}}
admission: {{max_in_flight: 4096, max_in_flight_bytes: 64MiB, predict_wait: true}}
"""
OFF = "breaker: off\n"


def process_workers(gateways: Gateways) -> Iterator[Finding]:
    """Compares the same model in worker processes and in threads, all on the server's core."""
    for model, least in LEAST_RATE_OF_PROCESSES.items():
        yield from _compared(
            gateways,
            f"process workers, {model}",
            model,
            {"processes": "workers: process\n", "threads": ""},
            least,
        )


def protections(gateways: Gateways) -> Iterator[Finding]:
    """Compares all protections on with all of them off."""
    yield from _compared(
        gateways,
        "protections on against off",
        "small",
        {"on": ON, "off": OFF},
        LEAST_RATE_PROTECTED,
    )


def _compared(
    gateways: Gateways, trial: str, model: str, settings: Mapping[str, str], least: float
) -> Iterator[Finding]:
    payloads = gateways.payloads(model)
    calls = 500 if gateways.short else 4_000
    with contextlib.ExitStack() as stack:
        addresses = {
            name: stack.enter_context(
                gateways.gateway(f"{model}_{name}", {model: text}, payloads[0])
            ).address
            for name, text in settings.items()
        }
        contestants = {
            name: lambda address=address: ask(address, payloads, calls=calls)
            for name, address in addresses.items()
        }
        runs = take_turns(contestants, 2 if gateways.short else 16)
    rates = {name: [run.goodput_per_s for run in taken] for name, taken in runs.items()}
    ours, theirs = settings
    ratio = paired_ratio(rates[ours], rates[theirs])
    yield exactly(
        trial, "failed calls", sum(run.failed for taken in runs.values() for run in taken), 0
    )
    yield at_least(
        trial,
        f"calls/s of {theirs}",
        ratio.median,
        least,
        note=f"{ratio}; {median(rates[ours]):.0f} of {median(rates[theirs]):.0f}/s",
    )
