"""`gateway unload`: the command line has a server take a model out of service."""

from __future__ import annotations

import argparse

from gateway.cli.client.control_client import ControlClient
from gateway.cli.options.connection_options import (
    add_connection_arguments,
    add_token_argument,
    connection_options,
    token,
)
from gateway.cli.reports.model_report import models_json

DESCRIPTION = """\
Has a server take a model out of service: it takes no new calls, and answers those it has.

Asked by the protocol's model repository extension, which other servers have as well. A gateway \
takes it from callers on its own machine, and from those with its admin token."""

EXAMPLES = """\
examples:
  gateway unload digits
  gateway unload digits --address 127.0.0.1:8001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("model", metavar="MODEL", help="its name")
    parser.add_argument("--json", action="store_true", help="how its versions stand then, as JSON")
    add_token_argument(parser, "a call")
    add_connection_arguments(parser, timeout="10m")


def run(arguments: argparse.Namespace) -> int:
    """Prints what became of the model; returns the exit status."""
    faults: list[str] = []
    given = token(arguments, faults)
    with ControlClient(connection_options(arguments, faults), given) as client:
        client.unload(arguments.model)
        found = client.versions(arguments.model)
    print(models_json(found) if arguments.json else f"{arguments.model}: unloaded")
    return 0
