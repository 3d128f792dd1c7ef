"""Tables of text, as the command line prints them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Final

LONGEST_NAME: Final = 40
"""Characters of a name that are shown where there is little room."""


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "", room: int | None = None
) -> str:
    """Columns under their names, two spaces apart; the last one may be of any width.

    Empty `header`: they have none. Where a line would be longer than `room`, names in the first
    column are cut; None: never.
    """
    heads = [header] if header else []
    widths = _widths((*heads, *rows))
    if room is not None and len(indent) + sum(widths) + 2 * (len(widths) - 1) > room:
        rows = [(shortened(row[0]), *row[1:]) for row in rows]
        widths = _widths((*heads, *rows))
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (*heads, *rows)
    )
    return "\n".join(indent + line for line in lines)


def shortened(name: str) -> str:
    """A name of `LONGEST_NAME` characters at most."""
    return (
        name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )


def terminal_width() -> int | None:
    """The width of the terminal that standard output goes to, or COLUMNS where that is set.

    None: it goes to no terminal, so nothing has to be cut.
    """
    if re.fullmatch("[1-9][0-9]{0,5}", columns := os.environ.get("COLUMNS", "")):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):  # a pipe, a file, or closed
        return None


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
