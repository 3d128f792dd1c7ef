"""What tracing and scraping cost.

The gateway traced, traced by ratio and scraped is compared with the same gateway without, in one
run.

    .venv/bin/python -m load_tests.observed [--turns 12] [--calls 40000] [--seconds 60] [--short]

Servers share one core with all their processes, the one that encodes and exports included; the
generator has the other, with a receiver that decodes and counts every span. A slice lasts a second
or more and a pause follows it, so that what one gateway still has to export is not paid in the
slice of another. At the end one gateway is traced for `--seconds`, and every call must have come to
a span. The program exits with 1 where a row falls short.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from load_tests.benchmark_models import build
from load_tests.chaos.findings import Finding, at_least, at_most, exactly, fallen_short, table
from load_tests.figures import Slice, paired_ratio, take_turns
from load_tests.h2load import SHAPES, run_h2load, write_framed
from load_tests.otlp_receiver import Receiver
from load_tests.payloads import Payload, make_payload
from load_tests.servers import GATEWAY, Cores, Server, check, choose_cores, serving

OFF = "off"
TRACED = "traced"
SAMPLED = "1 % sampled"
SCRAPED = "scraped"
LEAST_RATE = {TRACED: 0.8, SAMPLED: 0.95, SCRAPED: 0.97}
MOST_P90 = 1.3
SCRAPE_S = 1.0
PAUSE_S = 0.6  # longer than spans wait before they are exported


@dataclass(frozen=True)
class Field:
    """The gateways, the receiver of their spans, and how much is asked of them."""

    servers: dict[str, Server]
    receiver: Receiver
    payload: Payload
    framed: Path
    calls: int
    turns: int

    def slice_of(self, name: str, calls: int = 0, rate: float = 0) -> Slice:
        """Runs one slice, as a closed loop where no rate is given.

        SystemExit is raised where a reply was wrong.
        """
        server = self.servers[name]
        shape = replace(SHAPES["small"], calls=calls or self.calls, rate=rate)
        with scraping(server) if name == SCRAPED else contextlib.nullcontext():
            found = run_h2load(
                server.address, self.framed, shape, check(server.address, self.payload)
            )
        if found.fault:
            raise SystemExit(f"{name}: {found.fault}")
        time.sleep(PAUSE_S)
        return found


@contextlib.contextmanager
def scraping(server: Server) -> Iterator[None]:
    """Asks for /metrics at once and then every second, as often as a Prometheus may."""
    over = threading.Event()

    def scrape() -> None:
        while True:
            with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
                answer.read()
            if over.wait(SCRAPE_S):
                return

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def rates(field: Field) -> Iterator[Finding]:
    """Compares the rate of each gateway with that of `off`, turn by turn."""
    runs = take_turns({name: partial(field.slice_of, name) for name in field.servers}, field.turns)
    per_s = {name: [run.calls_per_s for run in taken] for name, taken in runs.items()}
    for name, least in LEAST_RATE.items():
        ratio = paired_ratio(per_s[name], per_s[OFF])
        yield at_least(
            name,
            "calls/s of off",
            ratio.median,
            least,
            note=f"{ratio}; {median(per_s[name]):.0f} of {median(per_s[OFF]):.0f}/s",
        )


def latencies(field: Field) -> Iterator[Finding]:
    """Compares the p90 of traced calls with that of `off`, at half of the rate of `off`."""
    rate = field.slice_of(OFF).calls_per_s / 2
    runs = take_turns(
        {name: partial(field.slice_of, name, rate=rate) for name in (OFF, TRACED)},
        field.turns,
        warm_up=1,
    )
    p90_ms = {name: [run.p90_ms for run in taken] for name, taken in runs.items()}
    ratio = paired_ratio(p90_ms[TRACED], p90_ms[OFF])
    note = f"{ratio}; {median(p90_ms[TRACED]):.2f} of {median(p90_ms[OFF]):.2f} ms at {rate:.0f}/s"
    yield at_most(TRACED, "p90 of off at half load", ratio.median, MOST_P90, note=note)


def losses(field: Field, seconds: float) -> Iterator[Finding]:
    """Checks that every call of a long load came to a span."""
    calls = int(field.slice_of(TRACED).calls_per_s * seconds)
    before = field.receiver.settled()
    found = field.slice_of(TRACED, calls)
    asked = calls + 1  # and the call that shows the size of a reply
    arrived = field.receiver.settled() - before
    yield exactly(
        TRACED, f"spans lost of {asked} calls at {found.calls_per_s:.0f}/s", asked - arrived, 0
    )


@contextlib.contextmanager
def fielded(folder: Path, cores: Cores, calls: int, turns: int) -> Iterator[Field]:
    """Starts all gateways at once, on the server's core."""
    build(folder / "models")
    payload = make_payload(folder / "models", "small")
    with Receiver(cores.generator) as receiver, contextlib.ExitStack() as stack:
        otlp = f"{GATEWAY} --otlp-endpoint {receiver.endpoint}"
        commands = {
            OFF: GATEWAY,
            TRACED: otlp,
            SAMPLED: f"{otlp} --trace-ratio 0.01",
            SCRAPED: GATEWAY,
        }
        servers = {
            name: stack.enter_context(
                serving(
                    command, folder / "models", payload, folder / f"{name}.log", core=cores.server
                )
            )
            for name, command in commands.items()
        }
        yield Field(servers, receiver, payload, write_framed(folder, payload), calls, turns)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--turns", type=int, default=12, help="slices of each (default %(default)s)"
    )
    parser.add_argument(
        "--calls", type=int, default=40_000, help="of a slice (default %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=60,
        help="of the load that may lose no span (default %(default)s)",
    )
    parser.add_argument(
        "--short", action="store_true", help="half a minute, judges only what is not a time"
    )
    args = parser.parse_args()
    turns, calls, seconds = (
        (2, 4_000, 3.0) if args.short else (args.turns, args.calls, args.seconds)
    )
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.generator})
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as tmp, fielded(Path(tmp), cores, calls, turns) as field:
        for finding in (*rates(field), *latencies(field), *losses(field, seconds)):
            print(
                f"{finding.verdict(short=args.short):5}  {finding.trial}: "
                f"{finding.must}  |  {finding.measured}",
                flush=True,
            )
            findings.append(finding)
    print("\n" + table(findings, short=args.short))
    if fallen_short(findings, short=args.short):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
