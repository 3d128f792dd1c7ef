"""Servers under load, each on a core of its own where there are enough.

A server is ready when it has answered a request; its memory is measured, and it is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from load_tests.payloads import METHOD, Payload, fault_of_message

if TYPE_CHECKING:
    from collections.abc import Iterator

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
GATEWAY = (
    f"{shlex.quote(str(BIN / 'gateway'))} serve --models {{models}} --port {{port}} --http-port "
    "{http} --processes 1 --drain-delay 0s"
)
YARDSTICK = f"{shlex.quote(sys.executable)} -m load_tests.yardstick_aio {{port}} {{models}}"
UP_WITHIN_S = 90
DOWN_WITHIN_S = 30


@dataclass(frozen=True)
class Cores:
    """The processor cores of a measurement; the same one twice where the machine has only one."""

    server: int
    generator: int


@dataclass(frozen=True)
class Server:
    """A server that has answered a call."""

    process: subprocess.Popen[bytes]
    address: str
    http: str = ""
    """HOST:PORT of its HTTP side; empty where its command line names none."""

    def memory_mib(self) -> float:
        """Memory of all its processes, shared pages counted once (PSS), in MiB."""
        sizes = [
            _pss_kib(path)
            for path in Path("/proc").glob("[0-9]*")
            if _group(path) == self.process.pid
        ]
        return sum(sizes) / 1024


def choose_cores() -> Cores:
    """The first and the last core this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) == 1:
        print(
            "one core only: server and generator share it, so the figures say little",
            file=sys.stderr,
        )
    return Cores(allowed[0], allowed[-1])


def pinned(core: int | None, command: list[str]) -> list[str]:
    """The command bound to one core; None leaves it all cores."""
    cores = f"{core}" if core is not None else f"0-{(os.cpu_count() or 1) - 1}"
    return ["taskset", "-c", cores, *command]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def started(
    command: str,
    models: Path,
    log: Path,
    *,
    core: int | None = None,
    env: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Starts a server without waiting for it.

    At the end it is stopped by SIGTERM, with every process that it started.

    `command` is a command line, no shell, with {models}, {port} and {http} to fill in, run in the
    checkout's folder; `env` is added to the environment.
    """
    port = free_port()
    http = free_port()
    line = shlex.split(
        command.format(models=shlex.quote(str(models.resolve())), port=port, http=http)
    )
    with log.open("wb") as out:
        environment = os.environ | (env or {})
        process = subprocess.Popen(
            pinned(core, line),
            stdout=out,
            stderr=out,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield Server(process, f"127.0.0.1:{port}", f"127.0.0.1:{http}")
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DOWN_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def serving(
    command: str, models: Path, payload: Payload, log: Path, *, core: int | None = None
) -> Iterator[Server]:
    """Starts a server and waits until it has answered `payload` right.

    SystemExit with the last lines of its log is raised when it does not.
    """
    with started(command, models, log, core=core) as server:
        until = time.monotonic() + UP_WITHIN_S
        while True:
            try:
                check(server.address, payload, timeout_s=5)
                break
            except grpc.RpcError as error:
                if server.process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(
                        f"did not come up: {command}\n{error}\n{log.read_text()[-2000:]}"
                    ) from None
                time.sleep(0.05)
        yield server


def ask(address: str, payload: Payload, *, timeout_s: float = 20) -> bytes:
    """The serialised reply to one call; raises grpc.RpcError."""
    with grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        return bytes(channel.unary_unary(METHOD)(payload.message, timeout=timeout_s))


def check(address: str, payload: Payload, *, timeout_s: float = 20) -> int:
    """Asks once, compares by value and returns the size of the reply on the wire.

    SystemExit is raised when the reply is wrong.
    """
    reply = ask(address, payload, timeout_s=timeout_s)
    if fault := fault_of_message(reply, payload):
        raise SystemExit(f"wrong answer from {address}: {fault}")
    return len(reply) + 5


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """Adds --address for a server that runs already, and --gateway for how to start one."""
    parser.add_argument(
        "--address",
        help="HOST:PORT of a server on the models of "
        "load_tests.benchmark_models; default: start the gateway",
    )
    parser.add_argument(
        "--gateway",
        default=GATEWAY,
        metavar="CMD",
        help="how to start it, with {models}, {port} and {http}",
    )


@contextlib.contextmanager
def target(args: argparse.Namespace, models: Path, payload: Payload, log: Path) -> Iterator[str]:
    """The address that the options of `add_target_options` ask for, checked by one call."""
    if args.address:
        try:
            check(args.address, payload)
        except grpc.RpcError as error:
            raise SystemExit(
                f"{args.address} did not answer for model {payload.model!r}; does it serve "
                f"the benchmark models?\n{error}"
            ) from None
        yield args.address
        return
    with serving(args.gateway, models, payload, log, core=choose_cores().server) as server:
        yield server.address


def _group(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[2])
    except (OSError, IndexError):
        return 0


def _pss_kib(path: Path) -> int:
    with contextlib.suppress(OSError):
        for line in (path / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
