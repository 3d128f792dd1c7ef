"""A table with named columns as inputs of a model, for the command line.

There are two cases: a column for each input, which then has one value a row; or, for a model with
one input, a column for each of its features. Names decide wherever the model has any; rows are
never answered in another order than their columns' names say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.core.datatypes import BYTES
from gateway.core.plan import TensorSpec
from gateway.core.request import Array

NOT_FEATURES: Final = ("label", "labels", "target", "class", "id")
"""Columns of these names are never features, unless the model says so."""

_ORDER: Final = (
    "the model does not name its columns, so they are taken in this order: {} (columns.txt beside "
    "the model would name them)"
)
_FLOATS: Final = ("FP16", "BF16", "FP32", "FP64")
MISSING: Final = ("", "na", "n/a", "nan", "null", "none")
"""What stands for a missing number, in any case of letters."""
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_INDEX: Final = re.compile(r"|Unnamed: 0|index|level_0")
"""Names of the column that pandas writes a frame's index to."""


class Table(NamedTuple):
    """Cells by the name of their column, which are texts, numbers, booleans or None."""

    columns: Mapping[str, Sequence[Any]]
    places: Sequence[str]
    """What each row is called in messages, such as `line 7`."""


class Read(NamedTuple):
    """What a file holds."""

    named: dict[str, Any]
    """Values by name, not yet checked against the model; what is no input is left in."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read."""


def read_table(table: Table, specs: Sequence[TensorSpec]) -> Read:
    """The inputs by name; columns that are no inputs are left in. Raises ValueError."""
    if len(specs) == 1 and specs[0].name not in table.columns and _takes_features(specs[0]):
        return _features(table, specs[0])
    by_name = _renamed(table, [spec.name for spec in specs])
    for spec in specs:
        if spec.name in by_name.columns and _width(spec) != 1:
            raise ValueError(
                f"input '{spec.name}' has more than one value a row, which one column "
                "cannot hold: use JSON or .npz"
            )
    datatypes = {spec.name: spec.datatype for spec in specs}
    return Read(
        {
            name: _cells(by_name, name, datatypes[name]) if name in datatypes else list(cells)
            for name, cells in by_name.columns.items()
            if name in datatypes or not _INDEX.fullmatch(name)
        }
    )


def _takes_features(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and (_width(spec) != 1 or len(spec.columns) == 1)


def _width(spec: TensorSpec) -> int:
    """How many values a row of the input has; 0: any number."""
    sizes = spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
    return 0 if -1 in sizes else math.prod(sizes)


def _features(table: Table, spec: TensorSpec) -> Read:
    """The one input, made of the columns that are its features; the others are there as well."""
    if spec.columns:
        table = _renamed(table, spec.columns)
        features = list(spec.columns)
        _require(features, table.columns)
        notes: tuple[str, ...] = ()
    else:
        features = _by_place(table, spec)
        notes = (_ORDER.format(", ".join(features)),)
    cells = [_cells(table, name, spec.datatype) for name in features]
    strangers = {
        name: list(cells)
        for name, cells in table.columns.items()
        if name not in features and not _INDEX.fullmatch(name)
    }
    return Read({spec.name: _shaped(np.stack(cells, axis=1), spec), **strangers}, notes)


def _require(features: Sequence[str], columns: Collection[str]) -> None:
    if missing := [name for name in features if name not in columns]:
        what = "columns" if len(missing) > 1 else "column"
        raise ValueError(
            f"lacks the model's {what} {', '.join(missing)}; it has {', '.join(columns)}"
        )


def _by_place(table: Table, spec: TensorSpec) -> list[str]:
    """The columns that may be features, in the order that they stand in."""
    width = _width(spec)
    features = [name for name in table.columns if name.lower() not in NOT_FEATURES]
    if width in (0, len(features) - 1) or "" in features:
        features = [name for name in features if not _INDEX.fullmatch(name)]
    if width not in (0, len(features)):
        raise ValueError(
            f"input '{spec.name}' takes {width} values a row, the file has {len(features)} columns "
            f"for them: {', '.join(features)}"
        )
    return features


def _renamed(table: Table, names: Sequence[str]) -> Table:
    """The table under the model's own names, where they differ in punctuation and case alone.

    Converters write `petal_length_(cm)` or `petal_length__cm_` for `petal length (cm)`.
    """
    plain: dict[str, list[str]] = {}
    for column in table.columns:
        plain.setdefault(_plain(column), []).append(column)
    renamed = {}
    for name in names:
        alike = plain.get(_plain(name), [])
        if name not in table.columns and len(alike) == 1 and alike[0] not in names:
            renamed[alike[0]] = name
    columns = {renamed.get(name, name): cells for name, cells in table.columns.items()}
    return Table(columns, table.places)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _shaped(rows: Array, spec: TensorSpec) -> Array:
    """Rows of features in the input's shape; one row alone may be without its axis."""
    if not _width(spec):
        return rows
    has_rows = spec.shape[:1] == (-1,)
    sizes = spec.shape[1:] if has_rows else spec.shape
    alone = not has_rows and len(rows) == 1
    return rows.reshape(sizes if alone else (len(rows), *sizes))


def _cells(table: Table, name: str, datatype: str) -> Array:
    read, expected = _reader(datatype)
    cells = table.columns[name]
    values = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        try:
            values[i] = read(cell)
        except (ValueError, KeyError, TypeError, OverflowError):
            missing = cell is None or cell == ""
            got = f"nothing ({datatype} has no missing value)" if missing else repr(cell)
            raise ValueError(
                f"{table.places[i]}, column '{name}': expected {expected}, got {got}"
            ) from None
    return values


def _reader(datatype: str) -> tuple[Callable[[Any], Any], str]:
    if datatype == BYTES:
        return _text, "text"
    if datatype == "BOOL":
        return lambda cell: _BOOLEANS[str(cell).lower()], "true or false"
    if datatype in _FLOATS:
        return _float, "a number"
    return _whole_number, "a whole number"


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise TypeError
    return cell


def _float(cell: Any) -> float:
    """A number, or NaN for a missing value."""
    if cell is None or (isinstance(cell, str) and cell.lower() in MISSING):
        return math.nan
    return float(cell)


def _whole_number(cell: Any) -> int:
    if (number := float(cell)).is_integer():
        # digits beyond 2**53 would be lost in a float
        exact = isinstance(cell, int) or (isinstance(cell, str) and cell.lstrip("+-").isdigit())
        return int(cell) if exact else int(number)
    raise ValueError(cell)
