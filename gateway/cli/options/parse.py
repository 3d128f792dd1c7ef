"""The settings as people write them: the keys of a YAML file, and options of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.command_errors import CommandFault
from gateway.cli.options.config_file import PATHS, ConfigFile
from gateway.config.typed_yaml import TypedYamlFault, decode_mapping, decode_yaml


def read_config_file(path: Path) -> ConfigFile:
    """What the file says, its relative paths made absolute (they start at its folder).

    Raises `CommandFault` with all that is wrong in it.
    """
    try:
        said = decode_yaml(path.read_text(encoding="utf-8"), ConfigFile)
    except OSError as error:
        raise CommandFault(f"--config: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandFault(
            f"--config: {path} is not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error
    except TypedYamlFault as error:
        raise CommandFault([f"{path}: {fault}" for fault in error.faults]) from error
    folder = path.absolute().parent
    return msgspec.structs.replace(
        said,
        **{
            key: str(folder / Path(value).expanduser())
            for key in PATHS
            if (value := getattr(said, key))
        },
    )


def read_options(options: Mapping[str, Any]) -> ConfigFile:
    """What the command line says, by key (None: not given).

    Raises `CommandFault` with all that is wrong.
    """
    try:
        return decode_mapping(options, ConfigFile)
    except TypedYamlFault as error:
        raise CommandFault([_as_option(fault) for fault in error.faults]) from error


def option_name(key: str) -> str:
    """`--max-message-size` for `max_message_size`."""
    return f"--{key.replace('_', '-')}"


def _as_option(fault: str) -> str:
    """Faults begin with their key."""
    key, colon, text = fault.partition(":")
    return f"{option_name(key)}{colon}{text}"
