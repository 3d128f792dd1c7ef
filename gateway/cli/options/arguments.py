"""Declared options as arguments of a command, on the command line."""

from __future__ import annotations

import argparse
import typing
from typing import Any

from gateway.cli.options.declared import DeclaredOption, declared_options
from gateway.cli.options.parse import option_name

Arguments = argparse._ActionsContainer  # a parser, or a group of one


def add_declared(to: Arguments, option: DeclaredOption, help_text: str = "") -> None:
    """Adds the option; `help_text` takes the place of the declared help."""
    to.add_argument(
        option_name(option.key),
        dest=option.key,
        help=_help(option, help_text or option.option.help),
        **_behaviour(option),
    )


def add_option(to: Arguments, key: str, help_text: str = "") -> None:
    """Adds an option of `gateway serve` to another command that means the same by it."""
    add_declared(to, declared_options()[key], help_text)


def _help(option: DeclaredOption, text: str) -> str:
    default = option.default_text
    return f"{text} [default: {default}]" if default else text


def _behaviour(option: DeclaredOption) -> dict[str, Any]:
    if option.type is bool:
        return {"action": argparse.BooleanOptionalAction, "default": None}
    return {
        "metavar": option.option.value,
        "action": "append" if typing.get_origin(option.type) is tuple else "store",
        "type": _number if option.is_number else str,
    }


def _number(text: str) -> int | str:
    """The text as a whole number, where it is one.

    Otherwise it stays a text, and the check of the value reports what is wrong with it.
    """
    digits = text.removeprefix("-")
    # longer ones are beyond 64 bits
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text  # noqa: PLR2004
