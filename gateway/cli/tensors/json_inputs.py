"""JSON as inputs of a model, in each of the forms that people have it in, for the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from gateway.cli.tensors.table_inputs import Read, Table, read_table
from gateway.core.plan import TensorSpec

_WRAPPED: Final = ("inputs", "dataframe_records", "dataframe_split", "instances")
"""Keys that a document may be wrapped in: the protocol's, MLflow's, TensorFlow Serving's."""


def read_json(text: str, specs: Sequence[TensorSpec]) -> Read:
    """The inputs by name; raises ValueError.

    There are five forms: `{name: values}`, the same under `inputs`, a list of tensors there, which
    is the protocol's own, the bare values of the only input, and a frame as pandas writes it:
    records, by columns, split, or a record a line.
    """
    names = [spec.name for spec in specs]
    whole = _parsed(text)
    document = whole
    if isinstance(document, dict):
        key = next((key for key in _WRAPPED if key in document and key not in names), "")
        inner = document[key] if key else document
        # an input that is called `inputs` is one
        document = inner if isinstance(inner, list | dict) else document
    wrapped = isinstance(whole, dict) and "inputs" in whole
    if _is_list_of(document, dict) and all(
        "name" in item and (wrapped or "data" in item) for item in document
    ):
        return Read({str(item["name"]): _protocol_tensor(item) for item in document})
    if (table := _frame(document, names)) is not None:
        return read_table(table, specs)
    if isinstance(document, list):
        if len(specs) != 1:
            form = ", ".join(f'"{name}": [...]' for name in names)
            raise ValueError(
                f"is a list, but the model has {len(specs)} inputs; name them: {{{form}}}"
            )
        return Read({names[0]: document})
    return Read(dict(document))


def _parsed(text: str) -> Any:
    """The document; a list of documents where there is one a line."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip().startswith("{") for line in lines):
            return [_line(number, line) for number, line in enumerate(lines, 1)]
        raise ValueError(f"is not JSON: {error}") from error


def _line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"line {number} is not JSON: {error}") from error


def _frame(document: Any, names: Sequence[str]) -> Table | None:
    """The frame that the document is; None: it is none."""
    if _is_list_of(document, dict):
        return _records(document)
    if not isinstance(document, dict):
        return None
    data: Any = document.get("data") if "data" not in names else None
    if "schema" in document and _is_list_of(data, dict):
        return _records(data)
    if isinstance(document.get("columns"), list) and isinstance(data, list):
        return _split(document["columns"], data)
    if document and all(isinstance(cells, dict) for cells in document.values()):
        return _nested(document)
    return None


def _nested(document: Mapping[str, Mapping[str, Any]]) -> Table:
    """A frame by columns (name, then index, then cell) or by rows (index, then name)."""
    if all(map(str.isdigit, document)) and not any(map(str.isdigit, _inner(document))):
        return _records(list(document.values()))
    indexes = list(_inner(document))
    if any(list(cells) != indexes for cells in document.values()):
        raise ValueError("its columns do not have the same rows")
    columns = {name: list(cells.values()) for name, cells in document.items()}
    return Table(columns, [f"row {index}" for index in indexes])


def _inner(document: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    return next(iter(document.values()))


def _records(records: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return Table(columns, [f"record {number}" for number in range(1, len(records) + 1)])


def _split(columns: Iterable[Any], rows: Sequence[Any]) -> Table:
    names = [str(name) for name in columns]
    if len(set(names)) != len(names):
        raise ValueError(f"names a column twice: {', '.join(names)}")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            raise ValueError(f"row {number} of `data` does not have {len(names)} cells")
    cells = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return Table(cells, [f"row {number}" for number in range(1, len(rows) + 1)])


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def _protocol_tensor(item: Mapping[str, Any]) -> Any:
    """The elements of a tensor of the protocol's JSON, flat or nested, in the shape given there."""
    if "data" not in item:
        raise ValueError(f"the tensor '{item['name']}' has no data")
    if "shape" not in item:
        return item["data"]
    try:
        return np.array(item["data"], object).reshape(item["shape"])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"the tensor '{item['name']}' does not have the shape {item['shape']}: {error}"
        ) from error
