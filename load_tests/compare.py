"""Compares the gateway with its yardsticks in one run.

The servers share one core, the generator has another, and they take turns in short slices.

    .venv/bin/python -m load_tests.compare [--loads
    small,mid,large,alone,hundred,spread,start] [--turns 20] [--short]

Figures of one run on a shared machine wander by a fifth; the ratio of two slices of the same turn
does not. What counts is the median of those ratios, with the order statistics that hold it with 95
%. README.md in this folder says what each load means.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from load_tests.h2load import SHAPES
from load_tests.loads import Bench, compare_hundred, compare_shape, compare_spread, compare_start
from load_tests.servers import GATEWAY, choose_cores

if TYPE_CHECKING:
    from load_tests.tables import Table

MODELS = Path(__file__).resolve().parents[1] / "models"
LOADS = (*SHAPES, "hundred", "spread", "start")
SHORT_TURNS = 6
SHORT_SHRINK = 4


def chosen_loads(text: str) -> list[str]:
    """The names in a comma-separated list; argparse's error for one that is none of LOADS."""
    names = text.split(",")
    if wrong := [name for name in names if name not in LOADS]:
        raise argparse.ArgumentTypeError(
            f"expected some of {','.join(LOADS)}; got {','.join(wrong)}"
        )
    return names


def run(bench: Bench, load: str) -> Table:
    """Runs one load from start to end."""
    if load == "hundred":
        return compare_hundred(bench)
    if load == "spread":
        return compare_spread(bench)
    if load == "start":
        return compare_start(bench, MODELS)
    return compare_shape(bench, load)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--loads",
        type=chosen_loads,
        default=list(LOADS),
        help=f"some of {','.join(LOADS)} (default: all)",
    )
    parser.add_argument(
        "--turns", type=int, default=20, help="slices of each contestant (default 20)"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help=f"{SHORT_TURNS} turns of quarter slices: shows that it works, not how fast",
    )
    parser.add_argument(
        "--gateway",
        default=GATEWAY,
        metavar="CMD",
        help="how to start the gateway, with {models}, {port} and {http}",
    )
    parser.add_argument(
        "--against",
        metavar="CMD",
        help="how to start a second variant of it that takes part as `against`",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where to write the tables as JSON"
    )
    args = parser.parse_args()
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.generator})
    print(
        f"grpcio {grpc.__version__}; servers on core {cores.server}, "
        f"generator on core {cores.generator}"
    )
    turns, shrink = (SHORT_TURNS, SHORT_SHRINK) if args.short else (args.turns, 1)
    tables = []
    with tempfile.TemporaryDirectory() as tmp:
        bench = Bench(args.gateway, args.against, turns, Path(tmp), cores.server, shrink)
        bench.build_models()
        for load in args.loads:
            tables.append(run(bench, load))
            print(tables[-1], flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps([asdict(table) for table in tables], indent=1) + "\n")
    if any(row.fault for table in tables for row in table.rows.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
