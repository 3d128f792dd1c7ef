"""`gateway reload`: the command line has a gateway look at its model repository again."""

from __future__ import annotations

import argparse

from gateway.cli.client.control_client import ControlClient
from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.options.connection_options import (
    add_connection_arguments,
    add_token_argument,
    connection_options,
    token,
)
from gateway.cli.reports.model_report import models_json, models_text, refusals

DESCRIPTION = """\
Has a gateway look at its folder of models, as SIGHUP does: what is new or changed is opened, \
tried and made live, what has gone is taken away. Ends when that holds in every serving process, \
and shows what stands otherwise than before. What is refused leaves live what was; the exit \
status is then 1.

For callers on the gateway's own machine, and for those with its admin token."""

EXAMPLES = """\
examples:
  gateway reload
  gateway reload --json --address 127.0.0.1:8001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--json", action="store_true", help="what has changed, as JSON")
    add_token_argument(parser, "a call")
    add_connection_arguments(parser, timeout="10m")


def run(arguments: argparse.Namespace) -> int:
    """Prints what has changed; returns 0, or raises `CommandError` with what was refused."""
    faults: list[str] = []
    given = token(arguments, faults)
    with ControlClient(connection_options(arguments, faults), given) as client:
        changed = client.reload()
    print(
        models_json(changed) if arguments.json else models_text(changed, "nothing has changed"),
        flush=True,
    )
    if refused := refusals(changed):
        raise CommandError(refused, FAILED)
    return 0
