"""The files and folders of models that the command line names, each maybe with a name before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.config.control import ModelPath


def model_paths(texts: Sequence[str], name: str, faults: list[str]) -> tuple[ModelPath, ...]:
    """The paths, absolute; what is wrong with them is added to `faults`.

    `NAME=PATH` says what one model is called; `name` does where there is one path only.
    """
    if name and len(texts) > 1:
        faults.append(
            f"--name {name}: there are {len(texts)} paths; name each by itself, NAME=PATH"
        )
    found = []
    for text in texts:
        named, path = _split(text)
        if path.is_dir() or path.is_file():
            found.append(ModelPath(path.absolute(), named or name))
        else:
            faults.append(f"{path} does not exist")
    return tuple(found)


def _split(text: str) -> tuple[str, Path]:
    """The name, empty where there is none, and the path."""
    name, equals, path = text.partition("=")
    if not equals or "/" in name or not name or Path(text).exists():
        return "", Path(text)
    return name, Path(path)
