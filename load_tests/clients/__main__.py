"""Installs clients that nobody here wrote and lets each of them use a gateway.

    .venv/bin/python -m load_tests.clients                     all of them: 15 minutes, once
    .venv/bin/python -m load_tests.clients --quick             those that CI tries
    .venv/bin/python -m load_tests.clients kserve grpcurl      these alone

It prints a table, and what is wrong below it. A client that cannot be had here is named with the
reason, and is no failure unless --all is given. It exits with 1 if a step of another was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from gateway.protocol.generated.inference_pb2 import ServerReadyRequest
from gateway.protocol.generated.inference_pb2_grpc import GRPCInferenceServiceStub
from load_tests.clients.catalogue import CLIENTS
from load_tests.clients.client import CannotInstallError, CannotRunError, Client
from load_tests.clients.task import MODELS, STEPS, WRONG, Outcome, Task
from load_tests.servers import GATEWAY, UP_WITHIN_S, started

CANNOT_BE_HAD = "not to be had here"


def main() -> int:
    """Tries the clients that the command line names; returns the exit status."""
    arguments = _arguments()
    chosen = [
        client
        for client in CLIENTS
        if client.name in arguments.clients
        or (not arguments.clients and (client.quick or not arguments.quick))
    ]
    task = Task()
    found = {}
    with _gateway() as address:
        for client in chosen:
            print(f"{client.name} {client.version} ...", file=sys.stderr, flush=True)
            found[client] = try_client(client, task, address)
    print("\n".join(table(found)))
    return int(has_failed(found, strict=arguments.all))


def try_client(client: Client, task: Task, address: str) -> dict[str, Outcome] | str:
    """The outcome of each step; or why the client cannot be had."""
    try:
        client.have()
        return task.judge(client.run(task, address))
    except CannotInstallError as error:
        return str(error)
    except CannotRunError as error:
        return dict.fromkeys(STEPS, Outcome(WRONG, str(error)))


def has_failed(found: dict[Client, dict[str, Outcome] | str], *, strict: bool) -> bool:
    """Whether a step was wrong, or, strictly, a client was not to be had."""
    return any(
        strict
        if isinstance(outcomes, str)
        else any(outcome.mark == WRONG for outcome in outcomes.values())
        for outcomes in found.values()
    )


def table(found: dict[Client, dict[str, Outcome] | str]) -> Iterator[str]:
    """A line for each client; then what is to be said of its steps."""
    rows = [["client", "version", *STEPS]]
    notes = []
    for client, outcomes in found.items():
        who = f"{client.name} {client.version}"
        if isinstance(outcomes, str):
            rows.append([client.name, client.version, CANNOT_BE_HAD])
            notes.append(f"{who}: {outcomes}")
            continue
        rows.append([client.name, client.version, *(outcomes[step].mark for step in STEPS)])
        notes += [f"{who}, {step}: {outcomes[step].text}" for step in STEPS if outcomes[step].text]
    widths = [max(len(row[n]) for row in rows if len(row) > n) for n in range(2)] + [8] * len(STEPS)
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        yield "  ".join(cells).rstrip()
    yield ""
    yield from notes


@contextlib.contextmanager
def _gateway() -> Iterator[str]:
    """A gateway that serves models/; gives its address."""
    with (
        tempfile.TemporaryDirectory() as folder,
        started(GATEWAY, MODELS, Path(folder) / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        until = time.monotonic() + UP_WITHIN_S
        while not _is_ready(stub):
            if time.monotonic() > until or server.process.poll() is not None:
                raise SystemExit((Path(folder) / "log").read_text())
        yield server.address


def _is_ready(stub: GRPCInferenceServiceStub) -> bool:
    try:
        return bool(stub.ServerReady(ServerReadyRequest(), timeout=1, wait_for_ready=True).ready)
    except grpc.RpcError:
        return False


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="load_tests.clients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="names of the table")
    parser.add_argument("--quick", action="store_true", help="those that are had in seconds")
    parser.add_argument("--all", action="store_true", help="one that cannot be had is a failure")
    arguments = parser.parse_args(words)
    names = [client.name for client in CLIENTS]
    for name in arguments.clients:
        if name not in names:
            parser.error(f"there is no client {name!r}; there are: {', '.join(names)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
