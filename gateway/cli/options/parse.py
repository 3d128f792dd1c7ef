"""The settings as people write them: the keys of a YAML file, and options of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.command_errors import CommandError
from gateway.cli.options.config_file import PATHS, ConfigFile
from gateway.config.typed_yaml import TypedYamlFault, decode_mapping, decode_yaml


def read_config_file(path: Path) -> ConfigFile:
    """What the file says, its relative paths made absolute (they start at its folder).

    Raises `CommandError` with all that is wrong in it.
    """
    try:
        options = decode_yaml(path.read_text(encoding="utf-8"), ConfigFile)
    except OSError as error:
        raise CommandError(f"--config: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"--config: {path} is not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error
    except TypedYamlFault as error:
        raise CommandError([f"{path}: {fault}" for fault in error.faults]) from error
    folder = path.absolute().parent
    return msgspec.structs.replace(
        options,
        **{
            key: str(folder / Path(value).expanduser())
            for key in PATHS
            if (value := getattr(options, key))
        },
    )


def read_options(options: Mapping[str, Any]) -> ConfigFile:
    """What the command line says, by key (None: not given).

    Raises `CommandError` with all that is wrong.
    """
    try:
        return decode_mapping(options, ConfigFile)
    except TypedYamlFault as error:
        raise CommandError([_as_option(fault) for fault in error.faults]) from error


def option_name(key: str) -> str:
    """`--max-message-size` for `max_message_size`."""
    return f"--{key.replace('_', '-')}"


def _as_option(fault: str) -> str:
    """Faults begin with their key."""
    key, colon, text = fault.partition(":")
    return f"{option_name(key)}{colon}{text}"
