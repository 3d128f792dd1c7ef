"""Loads many small models at once.

It measures how long they take to load, and what they cost a serving process while they are idle.

The gateway is started twice on the same folder: first it has to inspect every model, then it knows
them all. Beside that stands a start with a single model. Both cores are used, as in production;
models are asked for answers, which are compared by value.

    .venv/bin/python -m load_tests.many_models [--models 1000] [--processes 2]
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc

from gateway.protocol.generated import inference_pb2 as pb
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from load_tests.benchmark_models import build, copy_name
from load_tests.payloads import make_payload
from load_tests.processes import serving_pids, usage
from load_tests.servers import Server, check, started

READY_WITHIN_S = 300
ASKED = 20  # of all models, evenly chosen
POLL_S = 0.02
LAZY_THREADS = 3  # pools start their threads when they are first needed


@dataclass(frozen=True)
class Start:
    """One start of the gateway: seconds until it was ready, and its serving processes then."""

    seconds: float
    live: int
    threads: int
    """Threads of the serving process that has most."""
    resident_mib: float
    """Memory of the serving process that has most."""
    progress: tuple[str, ...]
    """The progress lines that the gateway logged while its models loaded."""


def start(models: Path, names: list[str], cache: Path, log: Path, processes: str) -> Start:
    """Starts the gateway, waits until it is ready, asks some of the models and stops it.

    SystemExit is raised where an answer is wrong.
    """
    command = shlex.join(
        [
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--cache-dir",
            str(cache),
            "--processes",
            processes,
            "--drain-delay",
            "0s",
        ]
    )
    begun = time.perf_counter()
    with started(
        f"{command} --models {{models}} --port {{port}} --http-port {{http}}", models, log
    ) as server:
        _wait_ready(server, log)
        seconds = time.perf_counter() - begun
        for name in names[:: max(1, len(names) // ASKED)]:
            check(server.address, make_payload(models, name))
        with grpc.insecure_channel(
            server.address, options=[("grpc.max_receive_message_length", -1)]
        ) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            index = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True), timeout=20)
        serving = [usage(pid) for pid in serving_pids(server.process.pid)]
        said = tuple(
            line for line in log.read_text().splitlines() if " models" in line and "loaded" in line
        )
        return Start(
            seconds,
            len(index.models),
            max(one.threads for one in serving),
            max(one.resident_mib for one in serving),
            said,
        )


def _wait_ready(server: Server, log: Path) -> None:
    until = time.monotonic() + READY_WITHIN_S
    with grpc.insecure_channel(server.address) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        while True:
            try:
                if stub.ServerReady(pb.ServerReadyRequest(), timeout=5, wait_for_ready=True).ready:
                    return
            except grpc.RpcError as error:
                if server.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(
                        f"the gateway did not come up: {error}\n{log.read_text()[-2000:]}"
                    ) from None
            if time.monotonic() > until:
                raise SystemExit(
                    f"the gateway was not ready within {READY_WITHIN_S} s\n"
                    f"{log.read_text()[-2000:]}"
                )
            time.sleep(POLL_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--processes", default="auto", help="serving processes (default auto)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), args.models, args.processes)


def run(folder: Path, count: int, processes: str) -> None:
    """Measures all starts and prints one line for each.

    SystemExit is raised where not every model is live, or where idle models cost threads.
    """
    build(folder / "one")
    build(folder / "many", copies=count)
    many = [copy_name(number) for number in range(count)]
    one = ["small"]
    starts = {
        "few models": start(
            folder / "one", one, folder / "cache-one", folder / "one.log", processes
        ),
        f"{count} more, first": start(
            folder / "many", many, folder / "cache", folder / "first.log", processes
        ),
        f"{count} more, inspected before": start(
            folder / "many", many, folder / "cache", folder / "second.log", processes
        ),
    }
    print(
        f"{'':<36}{'ready after':>12}{'live':>8}{'threads':>9}{'MiB':>8}   the "
        "last that was said of progress"
    )
    for what, one_start in starts.items():
        said = one_start.progress[-1].partition(": ")[2] if one_start.progress else ""
        print(
            f"{what:<36}{one_start.seconds:>10.2f} "
            f"s{one_start.live:>8}{one_start.threads:>9}{one_start.resident_mib:>8.0f}   {said}"
        )
    few, *others = starts.values()
    if any(other.live != count + few.live for other in others):
        raise SystemExit("not every model is live")
    if any(other.threads > few.threads + LAZY_THREADS for other in others):
        raise SystemExit("a serving process has more threads the more models it serves")


if __name__ == "__main__":
    main()
