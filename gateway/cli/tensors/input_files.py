"""Files of inputs that the command line names, JSON, .npz or CSV, as values by the input's name."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.cli.command_errors import CommandError
from gateway.cli.tensors.csv_inputs import read_csv
from gateway.core.plan import TensorSpec

_ZIP: Final = b"PK\x03\x04"


def read_inputs(source: str, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """The values of the file by name, not yet checked against the model; `-` is standard input.

    Raises `CommandError`.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}") from error
    try:
        return (
            _read_npz(content)
            if content.startswith(_ZIP)
            else _read_text(content.decode("utf-8-sig"), source, specs)
        )
    except UnicodeDecodeError as error:
        raise CommandError(f"{source}: is neither an .npz file nor UTF-8 text") from error
    except ValueError as error:
        raise CommandError(f"{source}: {error}") from error


def _read_text(text: str, source: str, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Reads JSON or CSV: which of them shows in its beginning, for standard input has no name."""
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(text, specs)
    if source.endswith(".json"):
        raise ValueError('is not JSON: expected an object such as {"x": [[1, 2]]}')
    return read_csv(text, specs)


def _read_npz(content: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"is not a readable .npz file: {error}") from error


def _read_json(text: str, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """The arrays by name.

    There are four forms: `{name: values}`, the same under `inputs`, a list of tensors there, which
    is the protocol's own, and the bare values of the only input.
    """
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    inputs = document.get("inputs") if isinstance(document, dict) else document
    if (
        isinstance(inputs, list)
        and inputs
        and all(isinstance(item, dict) and "name" in item for item in inputs)
    ):
        return {str(item["name"]): _protocol_tensor(item) for item in inputs}
    if isinstance(document, list):
        if len(specs) != 1:
            form = ", ".join(f'"{spec.name}": [...]' for spec in specs)
            raise ValueError(
                f"is a list, but the model has {len(specs)} inputs; name them: {{{form}}}"
            )
        return {specs[0].name: document}
    return inputs if isinstance(inputs, dict) else dict(document)


def _protocol_tensor(item: dict[str, Any]) -> Any:
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
