"""Names in a text of an error, as every process writes them: bounded, however many there are."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Final

MOST_NAMES: Final = 10
MOST_CHARACTERS: Final = 80
"""Of one name; names come from model files."""


def listed(names: Collection[object]) -> str:
    """`a, b, c`, or `a, b and 7 more`; `none` where there is none."""
    shown = ", ".join(_short(str(name)) for name in islice(names, MOST_NAMES)) or "none"
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _short(name: str) -> str:
    return name if len(name) <= MOST_CHARACTERS else f"{name[: MOST_CHARACTERS - 3]}..."
