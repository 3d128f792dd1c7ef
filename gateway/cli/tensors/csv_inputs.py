"""A CSV table as inputs of a model, for the command line.

There are two cases: a column for each input, which then has one value a row; or, for a model with
one input, a column for each of its features.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from gateway.core.datatypes import BYTES
from gateway.core.plan import TensorSpec

NOT_FEATURES: Final = ("label", "labels", "target", "class", "id")
"""Columns of these names are never features."""

_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_csv(text: str, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """The inputs by name, of a text with the columns' names in its first line, then a line a row.

    Columns that are no inputs are left in. Raises ValueError.
    """
    names, rows, lines = _table(text)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    if (
        len(specs) == 1
        and specs[0].name not in columns
        and len(specs[0].shape) > 1
        and _width(specs[0]) != 1
    ):
        return _features(columns, specs[0], lines)
    for spec in specs:
        if spec.name in columns and _width(spec) != 1:
            raise ValueError(
                f"input '{spec.name}' has more than one value a row, which one column "
                "cannot hold: use JSON or .npz"
            )
    readers = {spec.name: spec.datatype for spec in specs}
    return {
        name: _column(name, cells, lines, readers.get(name, BYTES))
        for name, cells in columns.items()
    }


def _table(text: str) -> tuple[list[str], list[list[str]], list[int]]:
    """The columns' names, the rows, and the line on which each row ends; without blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        numbered = [
            ([cell.strip() for cell in row], reader.line_num)
            for row in reader
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV: {error}") from error
    if not numbered:
        raise ValueError(
            "is empty: expected a line with the names of the columns, then one line a row"
        )
    (names, _), *rest = numbered
    if all(_is_number(name) for name in names):
        raise ValueError("begins with numbers: its first line must name the columns")
    if len(set(names)) != len(names):
        raise ValueError(f"names a column twice: {', '.join(names)}")
    for row, line in rest:
        if len(row) != len(names):
            raise ValueError(
                f"line {line} has {len(row)} cells, the first line names {len(names)} columns"
            )
    return names, [row for row, _ in rest], [line for _, line in rest]


def _width(spec: TensorSpec) -> int:
    """How many values a row of the input has; 0: any number."""
    sizes = spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
    return 0 if -1 in sizes else math.prod(sizes)


def _features(columns: dict[str, list[str]], spec: TensorSpec, lines: list[int]) -> dict[str, Any]:
    """The one input, made of all columns that may be features.

    The other columns are there as well, under their own names.
    """
    width = _width(spec)
    strangers = {name: cells for name, cells in columns.items() if name.lower() in NOT_FEATURES}
    features = [name for name in columns if name not in strangers]
    if width not in (0, len(features)):
        raise ValueError(
            f"input '{spec.name}' takes {width} values a row, the file has {len(features)} columns "
            f"for them: {', '.join(features)}"
        )
    table = np.stack(
        [_column(name, columns[name], lines, spec.datatype) for name in features], axis=1
    )
    if width:
        sizes = spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
        table = table.reshape(
            sizes if spec.shape[:1] != (-1,) and len(lines) == 1 else (len(lines), *sizes)
        )
    return {spec.name: table, **strangers}


def _column(name: str, cells: list[str], lines: list[int], datatype: str) -> Any:
    read, expected = _reader(datatype)
    values = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        try:
            values[i] = read(cell)
        except (ValueError, KeyError):
            raise ValueError(
                f"line {lines[i]}, column '{name}': expected {expected}, got {cell!r}"
            ) from None
    return values


def _reader(datatype: str) -> tuple[Callable[[str], Any], str]:
    if datatype == BYTES:
        return str, "text"
    if datatype == "BOOL":
        return lambda cell: _BOOLEANS[cell.lower()], "true or false"
    return (
        (lambda cell: float(cell or "nan"), "a number")
        if datatype in ("FP16", "BF16", "FP32", "FP64")
        else (_whole_number, "a whole number")
    )


def _whole_number(cell: str) -> int:
    if (number := float(cell)).is_integer():
        # digits beyond 2**53 would be lost in a float
        return int(cell) if cell.lstrip("+-").isdigit() else int(number)
    raise ValueError(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
