"""Model files on disk, as the control process checks and hashes them.

It looks at which files of external data they refer to, and whether those stay inside their folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.protobuf import external_locations

_MOST_BYTES = (1 << 31) - 1  # no protobuf message can be larger
_GIT_LFS = b"version https://git-lfs"
# ONNX Runtime takes a location with this word for an address in its own memory
_MEMORY_ADDRESS = "_ORT_MEM_ADDR_"


def external_files(path: Path) -> tuple[Path, ...]:
    """The files of external data that the model file refers to, all existing and in its folder.

    A link may also lead to where the model file itself really is, as in content-addressed caches,
    and nowhere else. Raises `OnnxFileFault`.
    """
    try:
        # O_NONBLOCK: the name may be a pipe's, which would be waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            locations = _locations(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OnnxFileFault(f"{path.name} cannot be read: {error.strerror}") from error
    except OnnxFileFault as fault:
        raise OnnxFileFault(f"{path.name} {fault}") from None
    return tuple(_external_file(path, location) for location in locations)


def file_hash(path: Path) -> str:
    """SHA-256 (hexadecimal) of the model file, as `sha256sum` prints it.

    Where it has external data: over all the files, their names included. Raises `OnnxFileFault`.
    """
    return _hash((path, *external_files(path)))


class FileHashes:
    """Remembers `file_hash` of files with the same inode, size and times, so polling is cheap."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Sequence[Path], object, str]] = {}

    def of(self, path: Path) -> str:
        """The file's hash; raises `OnnxFileFault`."""
        known = self._known.get(path)
        if known is not None and _state(known[0]) == known[1]:
            return known[2]
        files = (path, *external_files(path))
        state = _state(files)
        result = _hash(files)
        # a file that changes meanwhile is hashed again next time
        if state is not None and _state(files) == state:
            self._known[path] = files, state, result
        return result

    def keep_only(self, paths: set[Path]) -> None:
        """Forgets all files but these."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def __repr__(self) -> str:
        return f"<FileHashes of {len(self._known)} files>"


def _hash(files: Sequence[Path]) -> str:
    digest_of_all = hashlib.sha256()
    digest = ""
    for file in files:
        try:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise OnnxFileFault(f"{file.name} cannot be read: {error.strerror}") from error
        digest_of_all.update(
            f"{os.path.relpath(file, files[0].parent)}\0{digest}\0".encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest if len(files) == 1 else digest_of_all.hexdigest()


def _state(files: Sequence[Path]) -> object:
    try:
        return [
            (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
            for s in map(os.stat, files)
        ]
    except OSError:
        return None


def _locations(descriptor: int) -> tuple[str, ...]:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OnnxFileFault("is not a file")
    if status.st_size == 0:
        raise OnnxFileFault("is empty")
    if status.st_size > _MOST_BYTES:
        raise OnnxFileFault(
            f"has {status.st_size} bytes; an ONNX file ends at 2 GiB: save it with "
            "its weights as external data"
        )
    if os.pread(descriptor, len(_GIT_LFS), 0) == _GIT_LFS:
        raise OnnxFileFault(
            "is a Git LFS pointer, not the model: run `git lfs pull` in the repository it came from"
        )
    return external_locations(descriptor, status.st_size)


def _external_file(path: Path, location: str) -> Path:
    name = PurePosixPath(location)
    says = f"{path.name} refers to the external data '{location}'"
    if not location or "\0" in location or _MEMORY_ADDRESS in location:
        raise OnnxFileFault(f"{says}, which is no file name")
    if name.is_absolute() or ".." in name.parts:
        raise OnnxFileFault(
            f"{says}, which leaves the model's folder: it must be a path "
            f"below the folder of {path.name}"
        )
    file = path.parent / name
    try:
        real = file.resolve(strict=True)
        allowed = path.parent.resolve(), path.resolve().parent
        if not any(real.is_relative_to(folder) for folder in allowed):
            raise OnnxFileFault(f"{says}, a link that leaves the model's folder")
        if not real.is_file():
            raise OnnxFileFault(f"{says}, which is not a file")
    except (OSError, RuntimeError) as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        )
        raise OnnxFileFault(f"{says}, which {reason}") from error
    return file
