"""Findings that the control process keeps from one start to the next.

Each is a small JSON file, named by the key of what the findings depend on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.plan import Findings

_PRUNE_EVERY: Final = 256
_FRESH_S: Final = 86400.0  # a hit marks an entry as used once a day, not at every start
_ABANDONED_S: Final = 3600.0

_log = logging.getLogger(__name__)


class _Entry(msgspec.Struct):
    key: str
    findings: Findings


def default_cache_dir() -> Path:
    """`onnx-gateway/inspection` under XDG_CACHE_HOME, which is ~/.cache where it is not set."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not root.is_absolute():
        # Path.home raises where a user has no home
        root = Path(os.path.expanduser("~")).absolute() / ".cache"  # noqa: PTH111
    return root / "onnx-gateway" / "inspection"


class FindingsCache:
    """Findings by key, in a folder that several gateways may share.

    They are kept in memory where the folder cannot be written. `get` and `put` block on the disk
    and may be called from any thread. Findings with an error are not kept: its cause may lie
    outside the file (missing external data, memory).
    """

    def __init__(self, directory: Path | None, *, max_entries: int = 20_000) -> None:
        """`directory` None: in memory only. Beyond `max_entries` the longest unused are dropped."""
        self._directory = directory
        self._max_entries = max_entries
        self._memory: dict[str, Findings] = {}
        self._written = 0
        self._failed = False
        self._lock = threading.Lock()

    def get(self, key: str) -> Findings | None:
        """The findings kept for this key; None: there are none, or they cannot be read."""
        if key in self._memory:
            return self._memory[key]
        if self._directory is None:
            return None
        path = self._path(self._directory, key)
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=_Entry)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if entry.key != key:
            return None
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _FRESH_S:
                os.utime(path)
        return entry.findings

    def put(self, key: str, findings: Findings) -> None:
        """Keeps the findings, unless they have an error."""
        if findings.error:
            return
        if self._directory is None or self._failed:
            self._remember(key, findings)
            return
        try:
            self._write(self._directory, key, findings)
        except OSError as error:
            self._remember(key, findings)
            self._log_failed(error)

    def __repr__(self) -> str:
        place = "memory" if self._directory is None or self._failed else str(self._directory)
        return f"<FindingsCache in {place}, {len(self._memory)} in memory>"

    @staticmethod
    def _path(directory: Path, key: str) -> Path:
        return directory / f"{key}.json"

    def _remember(self, key: str, findings: Findings) -> None:
        with self._lock:
            self._memory[key] = findings
            while len(self._memory) > self._max_entries:
                del self._memory[next(iter(self._memory))]

    def _log_failed(self, error: OSError) -> None:
        with self._lock:
            first = not self._failed
            self._failed = True
        if first:
            _log.warning(
                "inspection's findings stay in memory, and models are inspected "
                "again at the next start: %s",
                error,
            )

    def _write(self, directory: Path, key: str, findings: Findings) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=directory)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(_Entry(key, findings)))
            Path(temporary).replace(self._path(directory, key))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        with self._lock:
            due = self._written % _PRUNE_EVERY == 0
            self._written += 1
        if due:
            self._prune(directory)

    def _prune(self, directory: Path) -> None:
        """Drops the longest unused entries beyond the limit, and files of writers that died."""
        aged: list[tuple[float, Path]] = []
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                used = path.stat().st_mtime
                if path.suffix == ".json":
                    aged.append((used, path))
                elif path.suffix == ".part" and time.time() - used > _ABANDONED_S:
                    path.unlink()
        for _, path in sorted(aged)[: max(0, len(aged) - self._max_entries)]:
            path.unlink(missing_ok=True)
