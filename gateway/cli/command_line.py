"""The command line: finds the command that is meant, runs it, and reports how it ended.

Only the module of the command that is asked for is imported: `gateway serve` has to have its
serving processes on their way before anything slow is, and help texts should not wait for gRPC.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from gateway.cli.command_errors import EXIT_STATUSES, USAGE, CommandError
from gateway.cli.parser import Parser, nearest, unknown_arguments
from gateway.control.processes.spawning import Spawner

COMMANDS = {
    "serve": "serve models: files, or folders of them",
    "check": "say what would be served and how, and everything that is wrong with it",
    "explain": "show what the requests of each model go through",
    "infer": "ask a model for a prediction",
    "models": "show which versions a gateway has live, since when, and why others are not",
    "reload": "have a gateway look at its folder of models again",
    "load": "have a server load a model as it now stands in its repository",
    "unload": "have a server take a model out of service",
    "breakers": "show the circuit breakers of a gateway, or set them",
    "health": "ask whether a gateway or a model is ready, with the exit status of a probe",
    "top": "show what a gateway does at this moment, in a terminal",
    "convert": "rewrite an exported model so that it can be served",
    "reference": "write a model's reference sample from rows of a file",
    "dashboards": "write a Grafana dashboard and Prometheus alert rules",
    "completion": "print what completes these commands in bash or zsh",
}

_SPEAK_GRPC = ("infer", "models", "reload", "load", "unload", "breakers", "health")

_EXAMPLES = """\
examples:
  gateway serve models
  gateway serve wine.onnx
  gateway check models --measure
  gateway infer digits --input models/digits/samples.json --rows 3

gateway COMMAND --help says what each command takes."""

_INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


class Command(Protocol):
    """What the module of a command has."""

    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds its options to the parser."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Carries the command out; returns the exit status, or raises `CommandError`."""
        ...


def main(words: Sequence[str], spawner: Spawner) -> int:
    """Runs one command; returns the exit status. Faults go to stderr, a line each.

    `spawner` starts the processes of a gateway, where the command serves.
    """
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        return _run(name, words, spawner)
    except CommandError as fault:
        for line in fault.faults:
            print(
                f"{f'gateway {name}' if name in COMMANDS else 'gateway'}: {line}", file=sys.stderr
            )
        return fault.status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(name: str, words: Sequence[str], spawner: Spawner) -> int:
    if name and name not in COMMANDS:
        raise CommandError(
            f"there is no command '{name}'{nearest(name, COMMANDS)} "
            f"(commands: {', '.join(COMMANDS)})",
            USAGE,
        )
    if name in _SPEAK_GRPC:
        # grpc reads it when it is imported; what it would log, the command reports itself
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    command = (
        cast("Command", importlib.import_module(f"gateway.cli.commands.{name}")) if name else None
    )
    parser, chosen = _parsers(name, command)
    arguments, extras = parser.parse_known_args(words, argparse.Namespace(spawner=spawner))
    if extras:
        raise unknown_arguments(chosen, extras)
    if command is None:
        parser.print_help()
        return USAGE
    return command.run(arguments)


def _parsers(name: str, command: Command | None) -> tuple[Parser, Parser]:
    """The parser of the whole line, and that of the command.

    Only the command that is asked for has its options in it, because only its module is imported.
    """
    parser = Parser(
        prog="gateway",
        description="Serves ONNX models over the Open Inference Protocol.",
        epilog=f"{EXIT_STATUSES}\n\n{_EXAMPLES}",
    )
    parser.add_argument(
        "--version",
        action=_VersionAction,
        help="show the versions of gateway, grpcio, onnxruntime and python",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    chosen = parser
    for each, line in COMMANDS.items():
        details = _details(command) if command is not None and each == name else {}
        sub = commands.add_parser(each, help=line, **details)
        if command is not None and each == name:
            command.add_arguments(sub)
            chosen = sub
    return parser, chosen


def _details(command: Command) -> dict[str, Any]:
    return {
        "description": command.DESCRIPTION,
        "epilog": f"{EXIT_STATUSES}\n\n{command.EXAMPLES}",
    }


class _VersionAction(argparse.Action):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(nargs=0, **arguments)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        # imported late: it reads the metadata of packages
        from gateway.cli.version_text import versions  # noqa: PLC0415

        print(versions())
        parser.exit()
