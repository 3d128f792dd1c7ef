"""`gateway check`: the command line says what would be served, and what is wrong with it."""

from __future__ import annotations

import argparse
import json

from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.options.arguments import add_option
from gateway.cli.reports.check_report import as_json, as_text
from gateway.cli.reports.repository_check import examine

DESCRIPTION = """\
Looks at models as `gateway serve` would, without serving it: what would be live, how \
each version would be batched and why.

Each model file is opened, and tried with rows together and apart, in a process of its own; a file \
that crashes it does no harm. What is found
is kept in the cache that `gateway serve` uses, so that a server which is started next need not \
look again.

Everything that keeps a model or a version from being served is reported, on stderr; the exit \
status \
is then 1. What is of a kind that is not served
(other backends, ensembles) is named with the reason and is no fault, nor are warnings, but for \
--strict."""

EXAMPLES = """\
examples:
  gateway check models
  gateway check models --measure
  gateway check models --strict
  gateway check models/digits --name numbers
  gateway check models/digits/1/model.onnx models/penguins
  gateway check models --json > report.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a model file, a model's folder, or a folder of models",
    )
    add_option(parser, "name")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="show what a run costs by its rows, which decides what batches are worth it",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="warnings are faults as well, such as a fallback on a model that is not there",
    )
    parser.add_argument("--json", action="store_true", help="everything that was found, as JSON")
    add_option(
        parser,
        "cache_dir",
        "where findings are kept; an empty folder has everything measured anew",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the report; returns 0, or raises `CommandError` with every fault found."""
    examined = examine(arguments.paths, arguments.name, arguments.cache_dir)
    print(
        json.dumps(as_json(examined), indent=2)
        if arguments.json
        else as_text(examined, measured=arguments.measure),
        flush=True,
    )
    faults = (*examined.faults, *(examined.warnings if arguments.strict else ()))
    if faults:
        raise CommandError(faults, FAILED)
    return 0
