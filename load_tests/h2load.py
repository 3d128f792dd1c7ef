"""Runs h2load as a gRPC generator.

It sends one prebuilt message over and over, at less cost than any other client here.

h2load knows nothing of gRPC and counts an error status as a success (gRPC's errors travel in
trailers behind HTTP 200). So every run is verified by the bytes of DATA that came back: they must
be those of one reply, checked by value before and after, times the calls.

    .venv/bin/python -m load_tests.h2load [--load small|mid|large|alone]
    [--calls 20000] [--address HOST:PORT]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from load_tests.benchmark_models import build
from load_tests.figures import Slice, percentile
from load_tests.payloads import METHOD, Payload, make_payload
from load_tests.servers import add_target_options, check, choose_cores, target

INSTALL = "apt-get install nghttp2-client"


@dataclass(frozen=True)
class Shape:
    """How calls are offered: connections, streams in flight on each, calls of a slice."""

    model: str
    connections: int
    streams: int
    calls: int
    rate: float = 0
    """Calls a second; 0: each answer is followed by the next call."""


SHAPES = {
    "small": Shape("small", 4, 32, 4_000),
    "mid": Shape("mid", 4, 32, 2_000),
    "large": Shape("large", 4, 8, 300),
    "alone": Shape("small", 1, 1, 400),
}


@dataclass(frozen=True)
class Output:
    """What h2load printed: requests by outcome, bytes of DATA received, requests a second."""

    succeeded: int
    failed: int
    data_bytes: int
    calls_per_s: float

    def fault(self, calls: int, reply_bytes: int) -> str:
        """What is wrong with the run; empty when nothing is.

        Each of `calls` replies must have had its `reply_bytes` of DATA.
        """
        if self.succeeded != calls or self.failed:
            return f"{self.succeeded} of {calls} calls ended, {self.failed} failed"
        if self.data_bytes != calls * reply_bytes:
            return (
                f"{calls} replies of {reply_bytes} bytes were expected, {calls * reply_bytes} "
                f"in all, got {self.data_bytes}"
            )
        return ""


def parse_output(text: str) -> Output:
    """Reads h2load's summary; ValueError names the line that is missing."""
    patterns = (r"(\d+) succeeded", r"(\d+) failed", r"\((\d+)\) data", r"([\d.]+) req/s")
    found = [re.search(pattern, text) for pattern in patterns]
    missing = [pattern for pattern, match in zip(patterns, found, strict=True) if match is None]
    if missing:
        raise ValueError(f"h2load printed nothing like {missing}:\n{text[-1000:]}")
    succeeded, failed, data_bytes, rate = (match[1] for match in found if match)
    return Output(int(succeeded), int(failed), int(data_bytes), float(rate))


def parse_log(text: str) -> list[float]:
    """Ascending latencies in milliseconds, read from the file of --log-file.

    Its lines have start (us), HTTP status and duration (us).
    """
    return sorted(int(line.split("\t")[2]) / 1e3 for line in text.splitlines())


def run_h2load(address: str, framed: Path, shape: Shape, reply_bytes: int) -> Slice:
    """Runs h2load once against HOST:PORT with the framed message in a file.

    It runs on the core that this process is bound to.
    """
    if shutil.which("h2load") is None:
        raise SystemExit(f"h2load is not installed: {INSTALL}")
    log = framed.with_suffix(".log")
    log.unlink(missing_ok=True)  # h2load appends to a log that is there
    counts = ["-c", str(shape.connections), "-m", str(shape.streams), "-n", str(shape.calls)]
    counts += [f"--rps={shape.rate / shape.connections:.0f}"] if shape.rate else []
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = [
        "h2load",
        "-t",
        "1",
        *counts,
        *headers,
        "-d",
        str(framed),
        "--log-file",
        str(log),
        f"http://{address}{METHOD}",
    ]
    output = parse_output(
        subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    )
    latencies_ms = parse_log(log.read_text())
    fault = output.fault(shape.calls, reply_bytes)
    p50_ms, p90_ms, p99_ms = (percentile(latencies_ms, percent) for percent in (50, 90, 99))
    return Slice(output.calls_per_s, p50_ms, p99_ms, fault, p90_ms)


def write_framed(folder: Path, payload: Payload) -> Path:
    """Writes the payload behind gRPC's prefix for `run_h2load`."""
    path = folder / f"{payload.model}.framed"
    path.write_bytes(payload.framed)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--load", choices=SHAPES, default="small")
    parser.add_argument("--calls", type=int, default=20_000)
    add_target_options(parser)
    args = parser.parse_args()
    shape = SHAPES[args.load]
    shape = Shape(shape.model, shape.connections, shape.streams, args.calls)
    with tempfile.TemporaryDirectory() as tmp:
        build(Path(tmp) / "models")
        payload = make_payload(Path(tmp) / "models", shape.model)
        framed = write_framed(Path(tmp), payload)
        with target(args, Path(tmp) / "models", payload, Path(tmp) / "server.log") as address:
            os.sched_setaffinity(0, {choose_cores().generator})
            result = run_h2load(address, framed, shape, check(address, payload))
            check(address, payload)
    print(
        f"{result.calls_per_s:.0f} calls/s  p50 {result.p50_ms:.2f} ms  p99 {result.p99_ms:.2f} "
        f"ms  {result.fault or 'every reply right'}"
    )
    if result.fault:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
