"""The small files beside a model, read in the control process.

These are class labels, names of columns, the reference sample and warm-up data; none may stand
outside the model's folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gateway.config.name_lists import as_names
from gateway.control.models.configuration.configuration import ModelConfiguration

LABELS = "labels.txt"
HUGGING_FACE = "config.json"
COLUMNS = "columns.txt"
REFERENCE = "reference.npz"
WARMUP = "warmup"

_MOST_LABEL_BYTES = 64 << 20
_MOST_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What was found beside the model."""

    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names by the name of the file that they stand in."""
    noted_labels: tuple[str, ...] = ()
    """Class names that an exporter has noted beside the model."""
    columns: tuple[str, ...] = ()
    """Names of an input's columns."""
    reference: str = ""
    """Path of the reference sample; empty: there is none."""
    warmup_files: dict[str, str] = field(default_factory=dict)
    """Paths of warm-up data by the name that the configuration has for them."""
    faults: tuple[str, ...] = ()


def read_sidecars(folder: Path, configuration: ModelConfiguration) -> Sidecars:
    """The sidecars that the configuration names, else those that have their usual names."""
    faults: list[str] = []
    reference = configuration.reference or (REFERENCE if (folder / REFERENCE).exists() else "")
    warmup = {
        tensor.file
        for request in configuration.warmup or ()
        for tensor in request.inputs.values()
        if tensor.file
    }
    return Sidecars(
        labels={
            name: _lines(folder, name, "labels", faults)
            for name in _label_files(folder, configuration)
        },
        noted_labels=_noted_labels(folder / HUGGING_FACE),
        columns=_lines(folder, COLUMNS, "columns", faults) if (folder / COLUMNS).exists() else (),
        reference=_path(folder, reference, "reference", faults) if reference else "",
        warmup_files={
            name: _path(folder, f"{WARMUP}/{name}", "warmup", faults) for name in sorted(warmup)
        },
        faults=tuple(faults),
    )


def inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder; raises ValueError if it is missing, or not inside."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise ValueError(f"'{name}' must be a path inside the model's folder")
    path = folder / relative
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"'{name}' is not in the model's folder") from error
    if not real.is_relative_to(folder.resolve()):
        raise ValueError(f"'{name}' is a link that leaves the model's folder")
    if not real.is_file():
        raise ValueError(f"'{name}' is not a file")
    return path


def read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a file of names, without blank ones at its end; raises ValueError."""
    try:
        if path.stat().st_size > _MOST_LABEL_BYTES:
            raise ValueError(f"'{path.name}' is larger than {_MOST_LABEL_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path.name}' cannot be read: {error}") from error
    if not text.strip():
        return ()
    return tuple(line.rstrip("\r") for line in text.rstrip("\r\n").split("\n"))


def _label_files(folder: Path, configuration: ModelConfiguration) -> list[str]:
    named = dict.fromkeys(tensor.labels for tensor in configuration.outputs if tensor.labels)
    return [*named] if named or not (folder / LABELS).exists() else [LABELS]


def _noted_labels(path: Path) -> tuple[str, ...]:
    """The classes of a model of Hugging Face's; none where the file is another one."""
    try:
        if path.stat().st_size > _MOST_CONFIG_BYTES:
            return ()
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    names = as_names(document.get("id2label")) if isinstance(document, dict) else ()
    # what it writes where nobody named them
    return () if names == tuple(f"LABEL_{i}" for i in range(len(names))) else names


def _lines(folder: Path, name: str, key: str, faults: list[str]) -> tuple[str, ...]:
    try:
        return read_labels(inside(folder, name))
    except ValueError as fault:
        faults.append(f"{key}: {fault}")
        return ()


def _path(folder: Path, name: str, key: str, faults: list[str]) -> str:
    try:
        return str(inside(folder, name))
    except ValueError as fault:
        faults.append(f"{key}: {fault}")
        return ""
