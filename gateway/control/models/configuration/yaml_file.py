"""Our own configuration file, `NAME/model.yaml`, as the main process reads it."""

from __future__ import annotations

from pathlib import Path

from gateway.config.typed_yaml import TypedYamlFault, decode_yaml
from gateway.control.models.configuration.configuration import ModelConfiguration, Reading

FILE_NAME = "model.yaml"


def read_yaml_file(path: Path) -> Reading:
    """What the file says; whatever is wrong with it stands in the reading's faults."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return Reading(faults=(f"{path.name}: cannot be read: {error}",))
    try:
        return Reading(configuration=decode_yaml(text, ModelConfiguration))
    except TypedYamlFault as fault:
        return Reading(faults=tuple(f"{path.name}: {text}" for text in fault.faults))
