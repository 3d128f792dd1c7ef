"""A CSV file as a table, for the command line: names in its first line, then a line a row."""

from __future__ import annotations

import csv
import io
import re
from typing import Final

from gateway.cli.tensors.table_inputs import MISSING, Table

_SEPARATORS: Final = ",;\t|"
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")


def read_csv(text: str) -> Table:
    """The table; raises ValueError.

    Cells are separated by what separates most of the names in the first line: comma, semicolon, tab
    or bar. Without commas between cells, a comma in a number is its decimal point.
    """
    separator = _separator(text)
    names, rows, lines = _rows(text, separator)
    if separator != ",":
        rows = [[_with_point(cell) for cell in row] for row in rows]
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return Table(columns, [f"line {line}" for line in lines])


def _separator(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", first)
    return max(_SEPARATORS, key=bare.count)


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _numbered(text: str, separator: str) -> list[tuple[list[str], int]]:
    """The rows with the line on which each ends, without blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        numbered = [
            ([cell.strip() for cell in row], reader.line_num)
            for row in reader
            if len(row) > 1 or any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV: {error}") from error
    while numbered and not any(numbered[-1][0]):  # spreadsheets end with rows of nothing
        numbered.pop()
    return numbered


def _rows(text: str, separator: str) -> tuple[list[str], list[list[str]], list[int]]:
    """The columns' names, the rows, and the line on which each row ends."""
    numbered = _numbered(text, separator)
    if not numbered:
        raise ValueError(
            "is empty: expected a line with the names of the columns, then one line a row"
        )
    (names, _), *rest = numbered
    if any(names) and all(map(_is_number, names)):
        raise ValueError("begins with numbers: its first line must name the columns")
    if len(set(names)) != len(names):
        raise ValueError(f"names a column twice: {', '.join(names)}")
    for row, line in rest:
        if len(row) != len(names):
            raise ValueError(
                f"line {line} has {len(row)} cells, the first line names {len(names)} columns"
            )
    return names, [row for row, _ in rest], [line for _, line in rest]


def _is_number(cell: str) -> bool:
    try:
        float("nan" if cell.lower() in MISSING else cell)
    except ValueError:
        return False
    return True
