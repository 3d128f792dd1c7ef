"""Scans a folder of models for the control process.

The layout is Triton's, NAME/VERSION/model.onnx, or that of one model by itself. Nothing is raised
for a bad model: what is wrong with it stands in its `FoundModel`, and the others are found all the
same. Names that callers send are only looked up among the names found here; no path is ever made of
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.control.models.configuration import pbtxt, yaml_file
from gateway.control.models.sources.folder_versions import EXPECTED, MODEL_FILE, is_version
from gateway.control.models.sources.found import FoundModel, FoundVersion, Repository
from gateway.control.models.sources.model_folder import ModelFolder, read_model
from gateway.control.models.sources.sidecars import COLUMNS, LABELS

SUFFIX = ".onnx"
_BESIDE = (yaml_file.FILE_NAME, pbtxt.FILE_NAME, LABELS, COLUMNS)
_NOT_A_MODEL = ("__pycache__", "lost+found")


def scan(
    root: Path, name: str | None = None, *, available_providers: Sequence[str] = ()
) -> Repository:
    """The models in the folder, with all that is wrong with them.

    `name`: what a folder that is itself one model is called; None: as the folder.
    `available_providers`: ONNX Runtime's, by name.
    """
    root = root.absolute()
    try:
        if root.is_file():
            return Repository(root, (_one_file(root, name, available_providers),))
        if _is_one_model(root):
            called = name or root.resolve().name or "model"
            model = read_model(ModelFolder(root, called, alone=True), available_providers)
            return Repository(root, (model,), warnings=tuple(_hidden_models(root)))
        folders, warnings = _model_folders(root)
        if (file := _only_file(root)) and not any(map(_looks_like_model, folders)):
            called = name or root.resolve().name or file.stem
            return Repository(root, (_one_file(file, called, available_providers),))
    except OSError as error:
        return Repository(root, fault=f"the model folder {root} cannot be read: {error.strerror}")
    return _several(root, name, folders, warnings, available_providers)


def _several(
    root: Path,
    name: str | None,
    folders: Sequence[Path],
    warnings: list[str],
    available_providers: Sequence[str],
) -> Repository:
    models = tuple(
        read_model(ModelFolder(folder, folder.name), available_providers) for folder in folders
    )
    if not models:
        return Repository(root, (), _no_model(root), tuple(warnings))
    if name is not None:
        warnings.append(
            f"the name '{name}' is not used: {root} holds several models, each named by its folder"
        )
    return Repository(root, models, "", tuple(warnings))


def file_model_name(file: Path) -> str:
    """What a model file by itself is called: as it is, or as the folder around `model.onnx`."""
    if file.name != MODEL_FILE:
        return file.stem
    folder = file.absolute().parent
    return (folder.parent if is_version(folder.name) else folder).name or file.stem


def _one_file(file: Path, name: str | None, available_providers: Sequence[str]) -> FoundModel:
    """The model in a file; what lies beside it belongs to it where it is the only one there."""
    called = name or file_model_name(file)
    if _only_file(file.parent) == file:
        folder = ModelFolder(file.parent, called, alone=True, filename=file.name)
        return read_model(folder, available_providers)
    unclear = [name for name in _BESIDE if (file.parent / name).exists()]
    fault = (
        f"{', '.join(unclear)} beside it may belong to any of the model files in {file.parent}: "
        "give each model a folder of its own"
    )
    return FoundModel(
        called,
        file.parent,
        versions=(FoundVersion(1, file),),
        faults=(fault,) if unclear else (),
        alone=True,
    )


def _only_file(folder: Path) -> Path | None:
    files = [entry for entry in folder.iterdir() if entry.suffix == SUFFIX and entry.is_file()]
    return files[0] if len(files) == 1 else None


def _no_model(root: Path) -> str:
    return (
        f"there is no model in {root}: {EXPECTED}, or one model by itself (one *{SUFFIX} file, or "
        "version folders, at the top)"
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


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode("utf-8")) and name.isprintable()
    except UnicodeEncodeError:
        return False
