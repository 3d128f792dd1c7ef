"""Runs ghz scenarios (load_tests/ghz/*.json) against a gateway.

It starts the gateway itself, unless --address names one that runs.

    .venv/bin/python -m load_tests.ghz_run [SCENARIO ...] [--short]
    [--address HOST:PORT] [--out DIR]

It exits with 1 if any call failed. ghz looks at statuses, not at answers; so one call of each model
is compared by value before and after.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from load_tests.benchmark_models import build
from load_tests.payloads import Payload, make_payload
from load_tests.servers import add_target_options, check, choose_cores, pinned, target
from load_tests.tools import GHZ, ghz_is_installed

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = {path.stem: path for path in sorted(Path(__file__).with_name("ghz").glob("*.json"))}
SHORT = "2s"
INSTALL = "make tools"


@dataclass(frozen=True)
class GhzReport:
    """What ghz found; the latencies are those of calls answered with OK."""

    calls: int
    calls_per_s: float
    latency_ms: dict[int, float]
    statuses: dict[str, int]
    errors: dict[str, int]

    @property
    def failed(self) -> int:
        """How many calls ended with anything but OK; 1 when no call was made at all."""
        return self.calls - self.statuses.get("OK", 0) if self.calls else 1

    def __str__(self) -> str:
        p50, p99 = (
            f"{self.latency_ms[p]:.2f} ms" if p in self.latency_ms else "-" for p in (50, 99)
        )
        failures = "".join(f"\n  {n} calls: {error}" for error, n in self.errors.items())
        return f"{self.calls_per_s:8.0f} calls/s  p50 {p50}  p99 {p99}  {self.statuses}{failures}"


def parse_report(text: str) -> GhzReport:
    """Reads ghz's `-O json`."""
    report = json.loads(text)
    return GhzReport(
        calls=report["count"],
        calls_per_s=report["rps"],
        latency_ms={
            entry["percentage"]: entry["latency"] / 1e6
            for entry in report.get("latencyDistribution") or []
        },
        statuses=report.get("statusCodeDistribution") or {},
        errors=report.get("errorDistribution") or {},
    )


def run_ghz(
    scenario: Path,
    address: str,
    payload: Payload,
    out: Path,
    *,
    duration: str | None = None,
    core: int | None = None,
) -> GhzReport:
    """Runs a scenario once; one without data of its own sends the payload.

    `duration` replaces the scenario's own.
    """
    command = [str(GHZ), "--config", str(scenario), "-O", "json", "-o", str(out)]
    if "data" not in json.loads(scenario.read_text()):
        message = out.with_suffix(".bin")
        message.write_bytes(payload.message)
        command += ["-B", str(message)]
    if duration:
        command += ["-z", duration]
    done = subprocess.run(
        pinned(core, [*command, address]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode or not out.exists():
        raise SystemExit(f"ghz failed on {scenario.name}: {done.stderr or done.stdout}")
    return parse_report(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help=f"some of {', '.join(SCENARIOS)} (default: all)",
    )
    parser.add_argument("--short", action="store_true", help=f"{SHORT} of each, for CI")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to keep ghz's JSON reports")
    add_target_options(parser)
    args = parser.parse_args()
    names = args.scenarios or list(SCENARIOS)
    if wrong := [name for name in names if name not in SCENARIOS]:
        parser.error(f"expected some of {', '.join(SCENARIOS)}; got {', '.join(wrong)}")
    if not ghz_is_installed():
        raise SystemExit(f"no ghz at {GHZ}: {INSTALL}")
    with tempfile.TemporaryDirectory() as tmp:
        failed = run_all(names, args, Path(tmp))
    raise SystemExit(1 if failed else 0)


def run_all(names: list[str], args: argparse.Namespace, tmp: Path) -> int:
    """Runs the scenarios against one server and prints each; returns how many calls failed."""
    build(tmp / "models")
    models = {name: json.loads(SCENARIOS[name].read_text())["tags"]["model"] for name in names}
    payloads = {model: make_payload(tmp / "models", model) for model in models.values()}
    core = choose_cores().generator
    out = args.out or tmp / "out"
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    with target(args, tmp / "models", payloads[models[names[0]]], tmp / "server.log") as address:
        for name, model in models.items():
            check(address, payloads[model])
            report = run_ghz(
                SCENARIOS[name],
                address,
                payloads[model],
                out / f"{name}.json",
                duration=SHORT if args.short else None,
                core=core,
            )
            check(address, payloads[model])
            print(f"{name:10} {report}", flush=True)
            failed += report.failed
    return failed


if __name__ == "__main__":
    main()
