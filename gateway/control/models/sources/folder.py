"""Scans a folder of models for the control process.

The layout is Triton's, NAME/VERSION/model.onnx, or that of one model by itself. Nothing is raised
for a bad model: what is wrong with it stands in its `FoundModel`, and the others are found all the
same. Names that callers send are only looked up among the names found here; no path is ever made of
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration import pbtxt, yaml_file
from gateway.control.models.configuration.configuration import ModelConfiguration, Reading
from gateway.control.models.configuration.contradictions import contradictions
from gateway.control.models.configuration.merge import fill, merge
from gateway.control.models.sources.folder_versions import (
    EXPECTED,
    MODEL_FILE,
    filename_faults,
    find_versions,
    is_version,
    version_faults,
)
from gateway.control.models.sources.found import FoundModel, Repository
from gateway.control.models.sources.sidecars import read_sidecars
from gateway.control.models.sources.version_policy import VersionPolicy, missing_versions

_NOT_A_MODEL = ("__pycache__", "lost+found")
_MISNAMED = {
    "model.yml": "model.yaml",
    "model.json": "model.yaml",
    "config.pbtext": "config.pbtxt",
    "config.txt": "config.pbtxt",
}


def scan(
    root: Path, name: str | None = None, *, available_providers: Sequence[str] = ()
) -> Repository:
    """The models in the folder, with all that is wrong with them.

    `name`: what a folder that is itself one model is called; None: as the folder.
    `available_providers`: ONNX Runtime's, by name.
    """
    root = root.absolute()
    try:
        if _is_one_model(root):
            called = name or root.resolve().name or "model"
            model = _found(root, called, available_providers, alone=True)
            return Repository(root, (model,), warnings=tuple(_hidden_models(root)))
        folders, warnings = _model_folders(root)
    except OSError as error:
        return Repository(root, fault=f"the model folder {root} cannot be read: {error.strerror}")
    models = tuple(_found(folder, folder.name, available_providers) for folder in folders)
    if not models:
        return Repository(root, (), _no_model(root), tuple(warnings))
    if name is not None:
        warnings.append(
            f"the name '{name}' is not used: {root} holds several models, each named by its folder"
        )
    return Repository(root, models, "", tuple(warnings))


def _no_model(root: Path) -> str:
    return (
        f"there is no model in {root}: {EXPECTED}, or one model by itself ({MODEL_FILE}, or "
        "version folders, at the top)"
    )


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
    try:
        found = _configured(model.folder, model.name, reading, (), alone=model.alone)
        kept = replace(
            found.configuration,
            allow_interface_change=model.configuration.allow_interface_change,
        )
        return replace(found, configuration=kept)
    except OSError as error:
        return FoundModel(
            model.name,
            model.folder,
            faults=(f"the folder of model '{model.name}' cannot be read: {error.strerror}",),
        )


def _is_one_model(root: Path) -> bool:
    if any((root / file).is_file() for file in (MODEL_FILE, yaml_file.FILE_NAME, pbtxt.FILE_NAME)):
        return True
    return any(
        is_version(entry.name) and (entry / MODEL_FILE).exists()
        for entry in root.iterdir()
        if entry.is_dir()
    )


def _hidden_models(root: Path) -> Iterator[str]:
    """A warning where the folder would be one of models, were it not for what stands at its top."""
    hidden = [
        folder.name
        for folder in _model_folders(root)[0]
        if not is_version(folder.name) and _looks_like_model(folder)
    ]
    if hidden:
        yield (
            f"{root} is taken for one model, because of {MODEL_FILE}, a configuration or a version "
            f"at its top: what looks like models in it is not served ({', '.join(hidden)})"
        )


def _looks_like_model(folder: Path) -> bool:
    try:
        return _is_one_model(folder)
    except OSError:
        return False


def _model_folders(root: Path) -> tuple[list[Path], list[str]]:
    folders = []
    warnings = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name in _NOT_A_MODEL or not entry.is_dir():
            continue
        if not _is_text(entry.name):
            warnings.append(
                f"the folder {entry.name!r} is not served: its name is not printable text"
            )
            continue
        folders.append(entry)
    return folders, warnings


def _found(
    folder: Path, name: str, available_providers: Sequence[str], *, alone: bool = False
) -> FoundModel:
    ours = Reading()
    theirs = ours
    try:
        if (path := folder / yaml_file.FILE_NAME).exists():
            ours = yaml_file.read_yaml_file(path)
        if (path := folder / pbtxt.FILE_NAME).exists():
            theirs = pbtxt.read_pbtxt_file(path, available_providers, None if alone else name)
        reading = _one_of_both(ours, theirs, available_providers)
        misnamed = [
            f"{wrong} is not read; is it meant to be {right}?"
            for wrong, right in _MISNAMED.items()
            if (folder / wrong).exists()
        ]
        return _configured(folder, name, reading, misnamed, alone=alone)
    except OSError as error:
        return FoundModel(
            name,
            folder,
            faults=(f"the folder of model '{name}' cannot be read: {error.strerror}",),
            alone=alone,
        )


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


def _configured(
    folder: Path, name: str, reading: Reading, warnings: Sequence[str], *, alone: bool
) -> FoundModel:
    """The model in the folder under this configuration."""
    configuration = reading.configuration
    model = FoundModel(name, folder, configuration, warnings=(*reading.warnings, *warnings))
    if reading.skipped or reading.faults:
        return replace(model, skipped=reading.skipped, faults=reading.faults, alone=alone)
    versions, version_warnings = find_versions(folder, configuration, alone=alone)
    sidecars = read_sidecars(folder, configuration)
    policy = configuration.versions or VersionPolicy()
    numbers = [version.version for version in versions]
    missing = (
        f"version {n} is named by `versions` and is not there"
        for n in missing_versions(policy, numbers)
    )
    return replace(
        model,
        versions=tuple(versions),
        faults=(*sidecars.faults, *version_faults(folder, name, policy, numbers)),
        warnings=(*model.warnings, *version_warnings, *missing),
        sidecars=sidecars,
        alone=alone,
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


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode("utf-8")) and name.isprintable()
    except UnicodeEncodeError:
        return False
