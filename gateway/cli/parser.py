"""The parser of the command line: argparse, with one line for each fault.

What is misspelt gets a suggestion.
"""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from gateway.cli.command_errors import CommandError


class Parser(argparse.ArgumentParser):
    """A parser that raises `CommandError` instead of ending the program.

    Options cannot be shortened, and help texts keep their lines.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _HelpFormatter, **arguments})

    def error(self, message: str) -> NoReturn:
        """Called by argparse with the fault that it found."""
        raise CommandError(f"{message} (see {self.prog} --help)")

    def known_options(self) -> list[str]:
        """Every option as people write it, `--help` among them."""
        return [option for action in self._actions for option in action.option_strings]


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str, **arguments: Any) -> None:
        super().__init__(prog, **{"max_help_position": 34, "width": 130, **arguments})

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        # argparse forgets the indentation of commands, so the longest would break its line
        for each in self._iter_indented_subactions(action):
            self._action_max_length = max(
                self._action_max_length,
                len(self._format_action_invocation(each)) + self._current_indent,
            )

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


def unknown_arguments(parser: Parser, extras: Sequence[str]) -> CommandError:
    """The error for arguments that the parser does not know."""
    unknown = [word for word in extras if word.startswith("-") and word != "-"] or extras
    known = parser.known_options()
    return CommandError(
        [f"unknown option {word}{nearest(word.partition('=')[0], known)}" for word in unknown]
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean x?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
