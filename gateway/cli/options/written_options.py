"""What people wrote of the options, and where, as the command line reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.cli.options.declared import declared_options
from gateway.cli.options.parse import read_config_file
from gateway.config.typed_yaml import load_yaml


@dataclass(frozen=True, slots=True)
class WrittenOption:
    """A value as it was written."""

    value: Any
    source: str
    """`the command line`, or the file's name."""


def written_options(arguments: Mapping[str, Any]) -> dict[str, WrittenOption]:
    """The options that were written, by key; the command line's hold.

    Called where they were found to be right. Paths are absolute, as they are used.
    """
    found: dict[str, WrittenOption] = {}
    if path := arguments.get("config"):
        values: Any = load_yaml(Path(path).read_text(encoding="utf-8")) or {}
        read = read_config_file(Path(path))
        for key in read:
            is_path = declared_options()[key].is_path
            found[key] = WrittenOption(read[key] if is_path else values[key], str(path))
    for key, option in declared_options().items():
        value = arguments.get(key)
        if value is not None:
            shown = str(Path(value).absolute()) if option.is_path and value else value
            found[key] = WrittenOption(shown, "the command line")
    return found
