"""What stands in a folder of models: Triton's layout, NAME/VERSION/model.onnx, or one model by itself.

Nothing is raised for a bad model: what is wrong with it stands in its `FoundModel`, and the others are found all the same. Names that
callers send are only looked up among the names found here; no path is ever made of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from gateway.core.typed_yaml import did_you_mean
from gateway.repository import pbtxt, yaml_file
from gateway.repository.configuration import ModelConfiguration, Reading, contradictions
from gateway.repository.merge import fill, merge
from gateway.repository.sidecars import WARMUP, Sidecars, read_sidecars
from gateway.repository.versions import VersionPolicy, live_versions, missing_versions

MODEL_FILE = "model.onnx"
EXPECTED = f"expected NAME/VERSION/{MODEL_FILE} (VERSION a whole number above 0)"

_VERSION = re.compile(r"[1-9]\d{0,17}", re.ASCII)
_LOOKS_LIKE_VERSION = re.compile(r"\d+", re.ASCII)
_NOT_A_MODEL = ("__pycache__", "lost+found")
_MISNAMED = {"model.yml": "model.yaml", "model.json": "model.yaml", "config.pbtext": "config.pbtxt", "config.txt": "config.pbtxt"}


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """One numbered version of a model."""

    version: int
    path: Path
    """The model file, absolute."""
    fault: str = ""
    """Why it cannot be served; empty where nothing is known against it."""


@dataclass(frozen=True)
class FoundModel:
    """One model: how it is configured, and which versions are there."""

    name: str
    folder: Path
    configuration: ModelConfiguration = field(default_factory=ModelConfiguration)
    versions: tuple[FoundVersion, ...] = ()
    """All that are there, ascending."""
    skipped: str = ""
    """Why it is of a kind that is not served; empty where it is."""
    faults: tuple[str, ...] = ()
    """Why it cannot be served, every reason found; empty where nothing is known against it."""
    warnings: tuple[str, ...] = ()
    sidecars: Sidecars = field(default_factory=Sidecars)

    @property
    def fault(self) -> str:
        """All the faults as one text."""
        return "; ".join(self.faults)

    @property
    def policy(self) -> VersionPolicy:
        """Which versions should be live."""
        return self.configuration.versions or VersionPolicy()

    @property
    def live(self) -> tuple[FoundVersion, ...]:
        """The versions that the policy wants live; none where the model as a whole is skipped or at fault."""
        if self.skipped or self.faults:
            return ()
        wanted = live_versions(self.policy, [version.version for version in self.versions])
        return tuple(version for version in self.versions if version.version in wanted)


@dataclass(frozen=True)
class Repository:
    """What a folder of models held when it was scanned."""

    root: Path
    models: tuple[FoundModel, ...] = ()
    """By name, ascending."""
    fault: str = ""
    """Why the folder as a whole serves nothing; empty where it holds models."""
    warnings: tuple[str, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, FoundModel]:
        return {model.name: model for model in self.models}

    def find(self, name: str) -> FoundModel | None:
        """The model of that name; None: there is none."""
        return self._by_name.get(name)

    def __repr__(self) -> str:
        bad = sum(1 for model in self.models if model.faults or model.skipped)
        return f"<Repository {self.root}: {len(self.models)} models, {bad} of them not served>"


def scan(root: Path, name: str | None = None, *, available_providers: Sequence[str] = ()) -> Repository:
    """The models in the folder, with all that is wrong with them.

    `name`: what a folder that is itself one model is called; None: as the folder. `available_providers`: ONNX Runtime's, by name.
    """
    root = root.absolute()
    try:
        if _is_one_model(root):
            return Repository(root, (_found(root, name or root.resolve().name or "model", available_providers, alone=True),))
        folders, warnings = _model_folders(root)
    except OSError as error:
        return Repository(root, fault=f"the model folder {root} cannot be read: {error.strerror}")
    models = tuple(_found(folder, folder.name, available_providers) for folder in folders)
    if name is not None and models:
        warnings.append(f"the name '{name}' is not used: {root} holds several models, each named by its folder")
    fault = "" if models else f"there is no model in {root}: {EXPECTED}, or one model by itself ({MODEL_FILE}, or version folders, at the top)"
    return Repository(root, models, fault, tuple(warnings))


def _is_one_model(root: Path) -> bool:
    if any((root / file).is_file() for file in (MODEL_FILE, yaml_file.FILE_NAME, pbtxt.FILE_NAME)):
        return True
    return any(_VERSION.fullmatch(entry.name) and (entry / MODEL_FILE).exists() for entry in root.iterdir() if entry.is_dir())


def _model_folders(root: Path) -> tuple[list[Path], list[str]]:
    folders, warnings = [], []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name in _NOT_A_MODEL or not entry.is_dir():
            continue
        if not _is_text(entry.name):
            warnings.append(f"the folder {entry.name!r} is not served: its name is not printable text")
            continue
        folders.append(entry)
    return folders, warnings


def _found(folder: Path, name: str, available_providers: Sequence[str], *, alone: bool = False) -> FoundModel:
    try:
        reading = _read_configuration(folder, name, available_providers, alone=alone)
        if reading.skipped or reading.faults:
            return FoundModel(name, folder, reading.configuration, (), reading.skipped, reading.faults, reading.warnings)
        versions, warnings = _versions(folder, reading.configuration, alone=alone)
        sidecars = read_sidecars(folder, reading.configuration)
    except OSError as error:
        return FoundModel(name, folder, faults=(f"the folder of model '{name}' cannot be read: {error.strerror}",))
    policy = reading.configuration.versions or VersionPolicy()
    numbers = [version.version for version in versions]
    warnings += [f"version {number} is named by `versions` and is not there" for number in missing_versions(policy, numbers)]
    faults = [*sidecars.faults, *_version_faults(folder, name, policy, numbers)]
    return FoundModel(name, folder, reading.configuration, tuple(versions), "", tuple(faults), (*reading.warnings, *warnings), sidecars)


def _read_configuration(folder: Path, name: str, available_providers: Sequence[str], *, alone: bool) -> Reading:
    """The one configuration that both files make."""
    ours = theirs = Reading()
    if (path := folder / yaml_file.FILE_NAME).exists():
        ours = yaml_file.read_yaml_file(path)
    if (path := folder / pbtxt.FILE_NAME).exists():
        theirs = pbtxt.read_pbtxt_file(path, available_providers, None if alone else name)
    configuration, differences = merge(ours.configuration, theirs.configuration, (yaml_file.FILE_NAME, pbtxt.FILE_NAME))
    configuration = fill(configuration, theirs.implied)
    faults = [*ours.faults, *theirs.faults, *differences, *contradictions(configuration), *_filename_faults(configuration)]
    misnamed = [f"{wrong} is not read; is it meant to be {right}?" for wrong, right in _MISNAMED.items() if (folder / wrong).exists()]
    return Reading(
        configuration=configuration,
        warnings=(*ours.warnings, *theirs.warnings, *misnamed, *_provider_warnings(configuration, available_providers)),
        faults=tuple(faults),
        skipped=theirs.skipped,
    )


def _versions(folder: Path, configuration: ModelConfiguration, *, alone: bool) -> tuple[list[FoundVersion], list[str]]:
    filename = configuration.model_filename or MODEL_FILE
    versions, warnings = [], []
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name == WARMUP or not entry.is_dir():
            continue
        if _VERSION.fullmatch(entry.name):
            versions.append(_version(entry, filename))
        elif _LOOKS_LIKE_VERSION.fullmatch(entry.name):
            warnings.append(f"the version folder '{entry.name}' is ignored: versions are whole numbers above 0 without leading zeros")
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
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))[:5]
        fault = f"version {folder.name} has no {filename} (its folder holds {', '.join(there) if there else 'nothing'})"
    return FoundVersion(int(folder.name), path, fault)


def _version_faults(folder: Path, name: str, policy: VersionPolicy, numbers: Sequence[int]) -> list[str]:
    if live_versions(policy, numbers):
        return []
    if numbers:
        return [f"at least one version must be available under the version policy of model '{name}': {policy!r} of {list(numbers)}"]
    if (folder / MODEL_FILE).exists():
        return [f"model '{name}' has no version folder: move {MODEL_FILE} to {name}/1/{MODEL_FILE}"]
    return [f"model '{name}' has no version folder: {EXPECTED}"]


def _filename_faults(configuration: ModelConfiguration) -> list[str]:
    path = PurePosixPath(configuration.model_filename or MODEL_FILE)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in str(path):
        return [f"the model file name '{configuration.model_filename}' must be a path inside the version's folder"]
    return []


def _provider_warnings(configuration: ModelConfiguration, available: Sequence[str]) -> list[str]:
    wanted = configuration.session.providers or ()
    return [
        f"the installed ONNX Runtime has no execution provider '{name}'{did_you_mean(name, list(available))}"
        for name in wanted
        if available and name not in available
    ]


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode("utf-8")) and name.isprintable()
    except UnicodeEncodeError:
        return False
