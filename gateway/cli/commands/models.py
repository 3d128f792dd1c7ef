"""`gateway models`: the command line shows which versions of models are live, and since when."""

from __future__ import annotations

import argparse

from gateway.cli.client.control_client import ControlClient
from gateway.cli.options.connection_options import add_connection_arguments, connection_options
from gateway.cli.reports.model_report import models_json, models_text

DESCRIPTION = """\
Shows the versions of models that a gateway has: their state, since when it is so, in how many \
serving processes they are live, the SHA-256 of the model file, and why others are not live.

Another server of the protocol is asked for its repository index, which has names, states and \
reasons."""

EXAMPLES = """\
examples:
  gateway models
  gateway models digits
  gateway models --json --address 127.0.0.1:8001"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", default="", help="only this one [default: all]"
    )
    parser.add_argument("--json", action="store_true", help="all that was told, as JSON")
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the versions; returns the exit status."""
    with ControlClient(connection_options(arguments, [])) as client:
        found = client.versions(arguments.model)
    print(models_json(found) if arguments.json else models_text(found, "there are no models"))
    return 0
