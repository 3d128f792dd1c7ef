"""Tables for the command line that leave out columns where there is no room for all of them.

They are drawn by rich.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

_BESIDE: Final = 2
"""Characters that a column takes beside its cells.

These are the space at its right and the divider, or the edges of the table.
"""


@dataclass(frozen=True)
class Column:
    """One column.

    Columns with the highest `rank` are left out first; one of rank 0 always stays.
    """

    name: str
    rank: int
    number: bool = False
    least: int | None = None
    """Characters to which its cells may be cut; None: they are shown whole."""
    usual: int = 0
    """Least width, so that columns do not come and go with the lengths of numbers."""


class FittedTable:
    """Shows as many of its columns as the console is wide, a line for each row."""

    def __init__(
        self, columns: Sequence[Column], rows: Sequence[Sequence[Text]], caption: str = ""
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._caption = caption
        self._widths = [
            max(cell_len(column.name), column.usual, *(row[at].cell_len for row in rows))
            for at, column in enumerate(columns)
        ]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Table]:
        widths = self._fit(options.max_width)
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
            collapse_padding=True,
            header_style="bold",
        )
        table.caption = self._caption or None
        table.caption_style = "dim"
        table.caption_justify = "left"
        for at, width in widths.items():
            column = self._columns[at]
            table.add_column(
                column.name,
                width=width,
                justify="right" if column.number else "left",
                no_wrap=True,
                overflow="ellipsis",
            )
        for row in self._rows:
            table.add_row(*(row[at] for at in widths))
        yield table

    def _fit(self, room: int) -> dict[int, int]:
        """The widths of the columns that stay, by their places.

        Each is first as narrow as it may be; what room is left then goes to those that were cut.
        """
        least = [
            width if column.least is None else min(width, column.least)
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        kept = []
        for at in sorted(range(len(self._columns)), key=lambda at: self._columns[at].rank):
            needed = least[at] + _BESIDE
            if self._columns[at].rank and needed > room:
                break
            kept.append(at)
            room -= needed
        widths = {at: least[at] for at in sorted(kept)}
        for at in kept:
            more = max(0, min(self._widths[at] - widths[at], room))
            widths[at] += more
            room -= more
        return widths

    def __repr__(self) -> str:
        return (
            f"<FittedTable {' '.join(column.name for column in self._columns)}, "
            f"{len(self._rows)} rows>"
        )
