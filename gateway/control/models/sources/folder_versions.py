"""The versions in a model's folder, as the control process finds them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gateway.control.models.configuration.configuration import ModelConfiguration
from gateway.control.models.sources.found import FoundVersion
from gateway.control.models.sources.sidecars import WARMUP
from gateway.control.models.sources.version_policy import VersionPolicy, live_versions

MODEL_FILE = "model.onnx"
EXPECTED = f"expected NAME/VERSION/{MODEL_FILE} (VERSION a whole number above 0)"

_VERSION = re.compile(r"[1-9]\d{0,17}", re.ASCII)
_LOOKS_LIKE_VERSION = re.compile(r"\d+", re.ASCII)


def is_version(name: str) -> bool:
    """Whether the folder's name is that of a version: a whole number above 0."""
    return _VERSION.fullmatch(name) is not None


def find_versions(
    folder: Path, configuration: ModelConfiguration, *, alone: bool, filename: str = MODEL_FILE
) -> tuple[list[FoundVersion], list[str]]:
    """The versions of the model in the folder, ascending, and warnings.

    `alone`: the folder may be one model without version folders, its only version at the top.
    `filename`: what its file is called where the configuration does not say.
    """
    filename = configuration.model_filename or filename
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
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        holds = ", ".join(there[:5]) or "nothing"
        fault = f"version {folder.name} has no {filename} (its folder holds {holds})"
    return FoundVersion(int(folder.name), path, fault)


def version_faults(
    folder: Path, name: str, policy: VersionPolicy, numbers: Sequence[int]
) -> list[str]:
    """Why no version of the model is live; empty: one is."""
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


def filename_faults(configuration: ModelConfiguration) -> list[str]:
    """Why the configured name of the model file cannot be one; empty: it can."""
    path = PurePosixPath(configuration.model_filename or MODEL_FILE)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in str(path):
        return [
            (
                f"the model file name '{configuration.model_filename}' must be a path "
                "inside the version's folder"
            )
        ]
    return []
