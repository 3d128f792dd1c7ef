"""One model's folder, read by the control process: its configuration, versions and sidecars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration import pbtxt, yaml_file
from gateway.control.models.configuration.configuration import ModelConfiguration, Reading
from gateway.control.models.configuration.contradictions import contradictions
from gateway.control.models.configuration.merge import fill, merge
from gateway.control.models.sources.folder_versions import (
    MODEL_FILE,
    filename_faults,
    find_versions,
    version_faults,
)
from gateway.control.models.sources.found import FoundModel
from gateway.control.models.sources.sidecars import read_sidecars
from gateway.control.models.sources.version_policy import VersionPolicy, missing_versions

_MISNAMED = {
    "model.yml": "model.yaml",
    "model.json": "model.yaml",
    "config.pbtext": "config.pbtxt",
    "config.txt": "config.pbtxt",
}


class ModelFolder(NamedTuple):
    """Where a model is, and what it is called."""

    path: Path
    name: str
    alone: bool = False
    """It may be without version folders, its only version at the top."""
    filename: str = MODEL_FILE
    """What the model file is called where the configuration does not say."""

    def unreadable(self, error: OSError) -> FoundModel:
        """The model that could not be read, with the reason."""
        return FoundModel(
            self.name,
            self.path,
            faults=(f"the folder of model '{self.name}' cannot be read: {error.strerror}",),
            alone=self.alone,
        )


def read_model(folder: ModelFolder, available_providers: Sequence[str]) -> FoundModel:
    """The model in the folder, with all that is wrong with it."""
    ours = Reading()
    theirs = ours
    try:
        if (path := folder.path / yaml_file.FILE_NAME).exists():
            ours = yaml_file.read_yaml_file(path)
        if (path := folder.path / pbtxt.FILE_NAME).exists():
            name = None if folder.alone else folder.name
            theirs = pbtxt.read_pbtxt_file(path, available_providers, name)
        reading = _one_of_both(ours, theirs, available_providers)
        misnamed = [
            f"{wrong} is not read; is it meant to be {right}?"
            for wrong, right in _MISNAMED.items()
            if (folder.path / wrong).exists()
        ]
        return _configured(folder, reading, misnamed)
    except OSError as error:
        return folder.unreadable(error)


def _one_of_both(ours: Reading, theirs: Reading, available_providers: Sequence[str]) -> Reading:
    """The configuration that the two files make together."""
    configuration, differences = merge(
        ours.configuration, theirs.configuration, (yaml_file.FILE_NAME, pbtxt.FILE_NAME)
    )
    configuration = fill(configuration, theirs.implied)
    return Reading(
        configuration=configuration,
        warnings=(
            *ours.warnings,
            *theirs.warnings,
            *_provider_warnings(configuration, available_providers),
        ),
        faults=(
            *ours.faults,
            *theirs.faults,
            *differences,
            *contradictions(configuration),
            *filename_faults(configuration),
        ),
        skipped=theirs.skipped,
    )


def _configured(folder: ModelFolder, reading: Reading, warnings: Sequence[str]) -> FoundModel:
    """The model in the folder under this configuration."""
    configuration = reading.configuration
    path = folder.path
    warnings = (*reading.warnings, *warnings)
    model = FoundModel(folder.name, path, configuration, warnings=warnings, alone=folder.alone)
    if reading.skipped or reading.faults:
        return replace(model, skipped=reading.skipped, faults=reading.faults)
    versions, version_warnings = find_versions(
        path, configuration, alone=folder.alone, filename=folder.filename
    )
    sidecars = read_sidecars(path, configuration)
    policy = configuration.versions or VersionPolicy()
    numbers = [version.version for version in versions]
    missing = (
        f"version {n} is named by `versions` and is not there"
        for n in missing_versions(policy, numbers)
    )
    return replace(
        model,
        versions=tuple(versions),
        faults=(*sidecars.faults, *version_faults(path, folder.name, policy, numbers)),
        warnings=(*model.warnings, *version_warnings, *missing),
        sidecars=sidecars,
    )


def _provider_warnings(configuration: ModelConfiguration, available: Sequence[str]) -> list[str]:
    wanted = configuration.session.providers or ()
    return [
        (
            "the installed ONNX Runtime has no execution provider "
            f"'{name}'{did_you_mean(name, list(available))}"
        )
        for name in wanted
        if available and name not in available
    ]


def reconfigured(
    model: FoundModel, config: Any, available_providers: Sequence[str] = ()
) -> FoundModel:
    """The same model under an `inference.ModelConfig` in place of its files' configuration.

    A caller may send one with a load request. It has no word for `allow_interface_change`, so that
    of the files holds.
    """
    reading = _one_of_both(
        Reading(), pbtxt.read_model_config(config, available_providers), available_providers
    )
    filename = model.versions[0].path.name if model.alone and model.versions else MODEL_FILE
    folder = ModelFolder(model.folder, model.name, model.alone, filename)
    try:
        found = _configured(folder, reading, ())
    except OSError as error:
        return folder.unreadable(error)
    kept = replace(
        found.configuration, allow_interface_change=model.configuration.allow_interface_change
    )
    return replace(found, configuration=kept)
