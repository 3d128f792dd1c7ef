"""Files of inputs that the command line names, JSON, .npz or CSV, as values by the input's name."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateway.cli.command_errors import CommandError
from gateway.cli.tensors.csv_inputs import read_csv
from gateway.cli.tensors.json_inputs import read_json
from gateway.cli.tensors.table_inputs import Read, read_table
from gateway.core.plan import TensorSpec

_ZIP: Final = b"PK\x03\x04"


def read_inputs(source: str, specs: Sequence[TensorSpec]) -> Read:
    """The values of the file by name, not yet checked against the model; `-` is standard input.

    Raises `CommandError`.
    """
    try:
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}") from error
    try:
        return (
            Read(_read_npz(content))
            if content.startswith(_ZIP)
            else _read_text(content.decode("utf-8-sig"), source, specs)
        )
    except UnicodeDecodeError as error:
        raise CommandError(f"{source}: is neither an .npz file nor UTF-8 text") from error
    except ValueError as error:
        raise CommandError(f"{source}: {error}") from error


def _read_text(text: str, source: str, specs: Sequence[TensorSpec]) -> Read:
    """Reads JSON or CSV: which of them shows in its beginning, for standard input has no name."""
    if text.lstrip()[:1] in ("{", "["):
        return read_json(text, specs)
    if source.endswith(".json"):
        raise ValueError('is not JSON: expected an object such as {"x": [[1, 2]]}')
    return read_table(read_csv(text), specs)


def _read_npz(content: bytes) -> dict[str, Any]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"is not a readable .npz file: {error}") from error
