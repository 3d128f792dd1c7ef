"""What stands in a folder of models.

Triton's layout, NAME/VERSION/model.onnx, or one model by itself.

Nothing is raised for a bad model: what is wrong with it stands in its `FoundModel`, and the others
are found all the same. Names that callers send are only looked up among the names found here; no
path is ever made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration import pbtxt, yaml_file
from gateway.control.models.configuration.configuration import (
    ModelConfiguration,
    Reading,
    contradictions,
)
from gateway.control.models.configuration.merge import fill, merge
from gateway.control.models.sources.found import FoundModel, FoundVersion, Repository
from gateway.control.models.sources.sidecars import WARMUP, read_sidecars
from gateway.control.models.sources.version_policy import (
    VersionPolicy,
    live_versions,
    missing_versions,
)

MODEL_FILE = "model.onnx"
EXPECTED = f"expected NAME/VERSION/{MODEL_FILE} (VERSION a whole number above 0)"

_VERSION = re.compile(r"[1-9]\d{0,17}", re.ASCII)
_LOOKS_LIKE_VERSION = re.compile(r"\d+", re.ASCII)
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
            model = _found(
                root, name or root.resolve().name or "model", available_providers, alone=True
            )
            return Repository(root, (model,), warnings=tuple(_hidden_models(root)))
        folders, warnings = _model_folders(root)
    except OSError as error:
        return Repository(root, fault=f"the model folder {root} cannot be read: {error.strerror}")
    models = tuple(_found(folder, folder.name, available_providers) for folder in folders)
    if name is not None and models:
        warnings.append(
            f"the name '{name}' is not used: {root} holds several models, each named by its folder"
        )
    fault = (
        ""
        if models
        else (
            f"there is no model in {root}: {EXPECTED}, or one model by itself ({MODEL_FILE}, or "
            "version folders, at the top)"
        )
    )
    return Repository(root, models, fault, tuple(warnings))


def reconfigured(
    model: FoundModel, config: Any, available_providers: Sequence[str] = ()
) -> FoundModel:
    """The same model under an `inference.ModelConfig` in place of its files'.

    As a caller may send one with a load request.
    """
    reading = _one_of_both(
        Reading(), pbtxt.read_model_config(config, available_providers), available_providers
    )
    try:
        return _configured(model.folder, model.name, reading, (), alone=model.alone)
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
        _VERSION.fullmatch(entry.name) and (entry / MODEL_FILE).exists()
        for entry in root.iterdir()
        if entry.is_dir()
    )


def _hidden_models(root: Path) -> Iterator[str]:
    """What looks like a folder of models.

    But for a file or version at its top that makes it one model.
    """
    hidden = [
        folder.name
        for folder in _model_folders(root)[0]
        if not _VERSION.fullmatch(folder.name) and _looks_like_model(folder)
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
    """The one configuration that both files make."""
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
            *_filename_faults(configuration),
        ),
        skipped=theirs.skipped,
    )


def _configured(
    folder: Path, name: str, reading: Reading, warnings: Sequence[str], *, alone: bool
) -> FoundModel:
    """The model in the folder under this configuration."""
    configuration = reading.configuration
    warnings = [*reading.warnings, *warnings]
    if reading.skipped or reading.faults:
        return FoundModel(
            name,
            folder,
            configuration,
            (),
            reading.skipped,
            reading.faults,
            tuple(warnings),
            alone=alone,
        )
    versions, version_warnings = _versions(folder, configuration, alone=alone)
    sidecars = read_sidecars(folder, configuration)
    policy = configuration.versions or VersionPolicy()
    numbers = [version.version for version in versions]
    warnings += [
        *version_warnings,
        *(
            f"version {n} is named by `versions` and is not there"
            for n in missing_versions(policy, numbers)
        ),
    ]
    faults = (*sidecars.faults, *_version_faults(folder, name, policy, numbers))
    return FoundModel(
        name, folder, configuration, tuple(versions), "", faults, tuple(warnings), sidecars, alone
    )


def _versions(
    folder: Path, configuration: ModelConfiguration, *, alone: bool
) -> tuple[list[FoundVersion], list[str]]:
    filename = configuration.model_filename or MODEL_FILE
    versions = []
    warnings = []
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name == WARMUP or not entry.is_dir():
            continue
        if _VERSION.fullmatch(entry.name):
            versions.append(_version(entry, filename))
        elif _LOOKS_LIKE_VERSION.fullmatch(entry.name):
            warnings.append(
                f"the version folder '{entry.name}' is ignored: versions are whole numbers "
                "above 0 without leading zeros"
            )
    if alone and (folder / filename).exists():
        if versions:
            warnings.append(f"{filename} at the top is ignored, because there are version folders")
        else:
            versions.append(FoundVersion(1, folder / filename))
    return sorted(versions, key=lambda version: version.version), warnings


def _version(folder: Path, filename: str) -> FoundVersion:
    path = folder / filename
    if path.is_dir():  # a model saved with its external data as a folder of its own
        path /= MODEL_FILE
    fault = ""
    if not path.exists():
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))[
            :5
        ]
        fault = (
            f"version {folder.name} has no {filename} (its folder holds "
            f"{', '.join(there) if there else 'nothing'})"
        )
    return FoundVersion(int(folder.name), path, fault)


def _version_faults(
    folder: Path, name: str, policy: VersionPolicy, numbers: Sequence[int]
) -> list[str]:
    if live_versions(policy, numbers):
        return []
    if numbers:
        return [
            (
                "at least one version must be available under the version policy of model "
                f"'{name}': {policy!r} of {list(numbers)}"
            )
        ]
    if (folder / MODEL_FILE).exists():
        return [f"model '{name}' has no version folder: move {MODEL_FILE} to {name}/1/{MODEL_FILE}"]
    return [f"model '{name}' has no version folder: {EXPECTED}"]


def _filename_faults(configuration: ModelConfiguration) -> list[str]:
    path = PurePosixPath(configuration.model_filename or MODEL_FILE)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in str(path):
        return [
            (
                f"the model file name '{configuration.model_filename}' must be a path "
                "inside the version's folder"
            )
        ]
    return []


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
