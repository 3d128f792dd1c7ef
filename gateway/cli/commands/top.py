"""`gateway top`: the command line shows what a gateway does at this moment."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from gateway.cli.client.client_options import ADDRESS_VARIABLE
from gateway.cli.client.live_client import LiveClient, NoAnswer
from gateway.cli.command_errors import NO_ANSWER, CommandError
from gateway.config.quantities import parse_duration_s

if TYPE_CHECKING:
    from rich.console import Console

    from gateway.cli.client.live_client import State

DESCRIPTION = """\
Shows what a gateway does at this moment: its models, the busiest first, their calls, errors, \
latency, batches, queue and breakers, its serving
processes, and what happened last. The same as its page at http://HOST:PORT/, in a terminal; \
Ctrl-C ends it. A narrow terminal shows fewer
columns; what is not written to a terminal has them all, unless COLUMNS says how wide it may be.

Rates and percentiles are those of the last five seconds. Where a model has several instances or \
processes, its breaker is the worst of them."""

EXAMPLES = """\
examples:
  gateway top
  gateway top --address 10.0.0.5:8002 --interval 5s
  gateway top --once
  gateway top --json
  gateway top --once --all"""

HTTP_VARIABLE = "GATEWAY_HTTP_ADDRESS"
_PORT = 8002
_LEAST_INTERVAL_S = 0.2
_WIDTH_OF_NO_TERMINAL = 1 << 14
"""Characters of a line: what a program reads is not cut, unless COLUMNS says so."""
_LINES_BESIDE = 16
"""Lines of the screen beside those of versions, processes and notices."""
_TIMEOUT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"its HTTP port [default: ${HTTP_VARIABLE}, else port {_PORT} where "
        f"${ADDRESS_VARIABLE} is, else 127.0.0.1:{_PORT}]",
    )
    parser.add_argument(
        "--interval", metavar="DURATION", default="1s", help="between two refreshes [default: 1s]"
    )
    parser.add_argument(
        "--once", action="store_true", help="print one table and end; needs no terminal"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the state once, with all that is known, as JSON"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every version, not only as many as there is room for; with --once",
    )


def run(arguments: argparse.Namespace) -> int:
    """Shows the state once, or again and again until Ctrl-C; returns the exit status."""
    client, interval_s = _read(arguments)
    try:
        state = client.state()
    except NoAnswer as no_answer:
        raise CommandError(str(no_answer), NO_ANSWER) from no_answer
    if arguments.json:
        print(json.dumps(asdict(state), indent=2))
        return 0
    from rich.console import Console  # noqa: PLC0415  # where it is used

    if arguments.once:
        terminal = sys.stdout.isatty()
        console = Console(
            width=None if terminal or "COLUMNS" in os.environ else _WIDTH_OF_NO_TERMINAL,
            highlight=False,
        )
        _print_once(console, state, everything=arguments.all or not terminal)
        return 0
    if not sys.stdout.isatty():
        raise CommandError("this is no terminal: --once prints one table and ends")
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to end it
        _follow(Console(highlight=False), client, state, interval_s)
    return 0


def _read(arguments: argparse.Namespace) -> tuple[LiveClient, float]:
    faults = []
    interval_s = 0.0
    where, address = _address(arguments.address)
    found = re.fullmatch(r"(?:http://)?([^\s/]+):(\d{1,5})/?", address)
    if found is None:
        faults.append(f"{where}: expected HOST:PORT, such as 127.0.0.1:8002, got {address!r}")
    try:
        interval_s = parse_duration_s(arguments.interval)
    except ValueError as error:
        faults.append(f"--interval: {error}")
    else:
        if interval_s < _LEAST_INTERVAL_S:
            faults.append(f"--interval: at least {_LEAST_INTERVAL_S:g}s")
    if arguments.all and not arguments.once:
        faults.append("--all is for --once: what a terminal has no room for cannot be shown in it")
    if faults or found is None:
        raise CommandError(faults)
    return LiveClient(found[1].strip("[]"), int(found[2]), _TIMEOUT_S), interval_s


def _address(given: str | None) -> tuple[str, str]:
    """What says where the HTTP port is, and where that is."""
    if given:
        return "--address", given
    if http := os.environ.get(HTTP_VARIABLE):
        return f"${HTTP_VARIABLE}", http
    host, _, _ = os.environ.get(ADDRESS_VARIABLE, "").rpartition(":")
    return f"${ADDRESS_VARIABLE}", f"{host or '127.0.0.1'}:{_PORT}"


def _print_once(console: Console, state: State, *, everything: bool) -> None:
    from gateway.cli.reports.live_tables import screen  # noqa: PLC0415  # rich

    console.print(screen(state, rows=None if everything else max(console.height - 12, 10)))


def _follow(console: Console, client: LiveClient, state: State, interval_s: float) -> None:
    """Shows the state again and again, until Ctrl-C.

    A gateway that does not answer any more is asked again, and its last state stays on the screen.
    """
    from rich.live import Live  # noqa: PLC0415  # where it is used

    from gateway.cli.reports.live_tables import screen  # noqa: PLC0415  # rich

    lost = ""
    with Live(console=console, screen=True, auto_refresh=False) as shown:
        while True:
            rows = max(
                console.height - _LINES_BESIDE - len(state.processes) - len(state.notices), 3
            )
            shown.update(screen(state, rows=rows, lost=lost), refresh=True)
            time.sleep(interval_s)
            try:
                state = client.state()
                lost = ""
            except NoAnswer as no_answer:
                lost = lost or f"no connection since {time.strftime('%H:%M:%S')}: {no_answer}"
