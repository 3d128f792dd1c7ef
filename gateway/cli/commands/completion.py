"""`gateway completion`: the command line prints what completes it in a shell."""

from __future__ import annotations

import argparse
import importlib
import typing
from enum import Enum
from typing import Any

from gateway.cli.command_line import COMMANDS, Command
from gateway.cli.options.declared import declared_options
from gateway.cli.parser import Parser
from gateway.cli.reports.completion_scripts import Word, bash_script, words_of, zsh_script

DESCRIPTION = """\
Prints a script that has a shell complete the commands of `gateway`, their options, the values of \
options that have few, and files."""

EXAMPLES = """\
examples:
  gateway completion bash
  gateway completion zsh"""

_SHELLS = {"bash": bash_script, "zsh": zsh_script}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("shell", metavar="SHELL", choices=sorted(_SHELLS), help="bash or zsh")


def run(arguments: argparse.Namespace) -> int:
    """Prints the script; returns the exit status."""
    script = _SHELLS[arguments.shell]
    print(script(COMMANDS, {name: _words(name) for name in COMMANDS}), end="")
    return 0


def _words(name: str) -> list[Word]:
    command: Command = importlib.import_module(f"gateway.cli.commands.{name}")
    parser = Parser(prog=f"gateway {name}")
    command.add_arguments(parser)
    few = {key: _choices(option.type) for key, option in declared_options().items()}
    return words_of(parser, {**few, "output_format": ("table", "json", "npz")})


def _choices(type_: Any) -> tuple[str, ...]:
    """The values of a type that has few."""
    if isinstance(type_, type) and issubclass(type_, Enum):
        return tuple(str(member.value) for member in type_)
    return tuple(map(str, typing.get_args(type_))) if _is_literal(type_) else ()


def _is_literal(type_: Any) -> bool:
    return typing.get_origin(type_) is typing.Literal
