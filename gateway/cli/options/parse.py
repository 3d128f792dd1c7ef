"""Options as people write them: on the command line, and as keys of a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.cli.command_errors import CommandError
from gateway.cli.options.declared import declared_options, read_values
from gateway.config.typed_yaml import TypedYamlFault, load_yaml


def read_config_file(path: Path) -> dict[str, Any]:
    """The values of the file by key; its relative paths start at its folder, and become absolute.

    Raises `CommandError` with all that is wrong in it.
    """
    try:
        values = read_values(load_yaml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CommandError(f"--config: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"--config: {path} is not UTF-8 text: {error.reason} at byte {error.start}"
        ) from error
    except TypedYamlFault as error:
        raise CommandError([f"{path}: {fault}" for fault in error.faults]) from error
    folder = path.absolute().parent
    options = declared_options()
    paths = {
        key: str(folder / Path(value).expanduser())
        for key, value in values.items()
        if options[key].is_path and value
    }
    return values | paths


def read_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the command line by key; in `arguments`, None marks what was not given.

    Raises `CommandError` with all that is wrong.
    """
    try:
        return read_values(arguments)
    except TypedYamlFault as error:
        raise CommandError([_as_option(fault) for fault in error.faults]) from error


def option_name(key: str) -> str:
    """`--max-message-size` for `max_message_size`."""
    return f"--{key.replace('_', '-')}"


def _as_option(fault: str) -> str:
    """The fault with the option in place of the key that it begins with."""
    key, colon, text = fault.partition(":")
    return f"{option_name(key)}{colon}{text}"
