"""How the main process reads the values of OpenTelemetry's environment variables.

Each reader takes a text and raises ValueError, which says what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.config.otlp_variables import fault

_T = TypeVar("_T")


def read_variable(
    seen: Mapping[str, str], variable: str, parse: Callable[[str], _T], default: _T
) -> _T:
    """The value of a variable, `default` where it is not there.

    Raises ValueError, with the variable and what was expected of it, where `parse` does.
    """
    if variable not in seen:
        return default
    try:
        return parse(seen[variable])
    except ValueError as error:
        raise fault(variable, str(error), seen[variable]) from None


def one_of(values: Mapping[str, _T]) -> Callable[[str], _T]:
    """Reads one of the words; raises ValueError with all of them."""

    def parse(text: str) -> _T:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text]

    return parse


def boolean(text: str) -> bool:
    """Reads `true` or `false`, in any case."""
    return one_of({"true": True, "false": False})(text.lower())


def ratio(text: str) -> float:
    """Reads a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def count(text: str) -> int:
    """Reads a whole number from 0."""
    if not text.isdecimal():
        raise ValueError("a whole number from 0")
    return int(text)
