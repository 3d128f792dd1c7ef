"""Runs the fault trials: faults of every kind while a load runs.

They show which calls were answered, rightly and in time, and what is left when a trial is over.

Each trial has gateways of its own. The program prints a table (trial, what it must show, whether it
does, what was measured) and exits with 1 where a row falls short. The short form judges only what
is not a time: replies, failed calls, counts.

    .venv/bin/python -m load_tests.chaos [--short] [--trials
    overload,killed] [--overload-seconds 60]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from load_tests.benchmark_models import build, build_fragile, build_scale
from load_tests.chaos import costs, failing_models, lost_parts, too_much_load
from load_tests.chaos.failing_models import BROKEN, BROKEN_FACTOR, FRAGILE, HEALTHY_FACTOR
from load_tests.chaos.findings import Finding, broken, fallen_short, table
from load_tests.chaos.gateways import Gateways
from load_tests.chaos.too_much_load import OVERLOAD_S, SHORT_OVERLOAD_S
from load_tests.servers import choose_cores

Trial = Callable[[Gateways], Iterator[Finding]]


def trials(overload_s: float) -> dict[str, Trial]:
    """All trials by name, in the order in which they run."""
    return {
        "refused": too_much_load.refused,
        "outstanding": too_much_load.outstanding,
        "fallback": failing_models.with_fallback,
        "refusing": failing_models.without_fallback,
        "poisoned": failing_models.poisoned,
        "frozen": lost_parts.frozen_remote,
        "disconnect": lost_parts.mass_disconnect,
        "processes": costs.process_workers,
        "protections": costs.protections,
        "killed": lost_parts.killed_workers,
        "overload": partial(too_much_load.overloaded, seconds=overload_s),
    }


def run(chosen: Mapping[str, Trial], gateways: Gateways) -> list[Finding]:
    """Runs the chosen trials and returns what they found.

    A trial that breaks off becomes a row of its own; the others run all the same.
    """
    findings: list[Finding] = []
    for name, trial in chosen.items():
        began = time.monotonic()
        try:
            for finding in trial(gateways):
                findings.append(finding)
                print(
                    f"{finding.verdict(short=gateways.short):5}  {finding.trial}: "
                    f"{finding.must}  |  {finding.measured}",
                    flush=True,
                )
        except (Exception, SystemExit) as error:  # noqa: BLE001
            # a server that does not come up ends one trial
            findings.append(broken(name, error))
            print(f"SHORT  {findings[-1].trial}: {findings[-1].measured}", flush=True)
        print(f"       {name} took {time.monotonic() - began:.0f} s", flush=True)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--short", action="store_true", help="a minute or two, judges only what is not a time"
    )
    parser.add_argument(
        "--trials",
        default=",".join(trials(0)),
        help="which, comma-separated (default all: %(default)s)",
    )
    parser.add_argument(
        "--overload-seconds",
        type=float,
        help=f"of each model (default {OVERLOAD_S:g}, short {SHORT_OVERLOAD_S:g})",
    )
    args = parser.parse_args()
    known = trials(args.overload_seconds or (SHORT_OVERLOAD_S if args.short else OVERLOAD_S))
    if unknown := set(args.trials.split(",")) - set(known):
        parser.error(f"no such trial: {', '.join(sorted(unknown))} (there are {', '.join(known)})")
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.generator})
    with tempfile.TemporaryDirectory() as tmp:
        models = Path(tmp) / "models"
        build(models, copies=2, copies_of_mid=2)
        build_scale(models, BROKEN, factor=HEALTHY_FACTOR)
        build_fragile(models, BROKEN, version=2, factor=BROKEN_FACTOR)
        build_fragile(models, FRAGILE, factor=BROKEN_FACTOR)
        findings = run(
            {name: known[name] for name in args.trials.split(",")},
            Gateways(models, Path(tmp), cores, args.short),
        )
    print("\n" + table(findings, short=args.short))
    if short := fallen_short(findings, short=args.short):
        raise SystemExit(f"FELL SHORT: {len(short)} of {len(findings)}")


if __name__ == "__main__":
    main()
