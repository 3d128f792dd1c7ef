"""How many serving processes the control process starts.

There is one for each core, and fewer where their copies of the models would fill the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.records.counters import MAX_SLOTS

MEMORY_SHARE = 4
"""All copies of the models may take one part in this many of the memory.

Requests that run and wait need the rest.
"""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class ProcessChoice:
    """How many serving processes run, and why, for people."""

    processes: int
    reason: str


def choose_processes(cores: int, models_bytes: int, memory_bytes: int) -> ProcessChoice:
    """Decides by cores and memory.

    `models_bytes` is what one process holds of all models, `memory_bytes` what the gateway may use.
    """
    wanted = max(1, min(cores, MAX_SLOTS))
    room = memory_bytes // (MEMORY_SHARE * models_bytes) if models_bytes else wanted
    if room >= wanted:
        return ProcessChoice(
            wanted,
            f"one for each of {cores} cores"
            if wanted == cores
            else f"{wanted}, the most there can be",
        )
    processes = max(1, room)
    return ProcessChoice(
        processes,
        f"{processes} of {wanted} possible: each holds the models ({_text(models_bytes)}), "
        "and together they are to stay under a quarter of the memory "
        f"({_text(memory_bytes)}); --processes N overrides",
    )


def choose_processes_here(models: Sequence[Path]) -> ProcessChoice:
    """`choose_processes` for this machine, its limits and the sizes of the models' files."""
    size_bytes = sum(map(estimate_models_bytes, models))
    return choose_processes(usable_cores(), size_bytes, usable_memory_bytes())


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: its affinity's, or fewer where a control group says so."""
    cores = len(os.sched_getaffinity(0))
    for group in _groups(cgroup):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            cores = min(cores, -(-int(quota) // int(period)))
    quota = _read(cgroup / "cpu/cpu.cfs_quota_us")
    period = _read(cgroup / "cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, -(-int(quota) // int(period)))
    return max(1, cores)


def usable_memory_bytes(cgroup: Path = CGROUP) -> int:
    """The machine's memory in bytes, or less where a control group limits it."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    files = [group / "memory.max" for group in _groups(cgroup)] + [
        cgroup / "memory/memory.limit_in_bytes"
    ]
    limits.extend(int(text) for file in files if (text := _read(file)).isdecimal())
    return min(limits)


def estimate_models_bytes(models: Path) -> int:
    """Bytes that the newest version of every model in a folder, or a file, takes on disk.

    An open session takes about as much memory. Only names and sizes are read. A folder that is one
    model itself counts as one.
    """
    if models.is_file():
        return _size(models)
    return _newest_version_bytes(models) or sum(
        _newest_version_bytes(folder) for folder in _folders(models)
    )


def _newest_version_bytes(model: Path) -> int:
    versions = [folder for folder in _folders(model) if folder.name.isdecimal()]
    if versions:
        return _tree_bytes(max(versions, key=lambda folder: int(folder.name)))
    return sum(_size(file) for file in _entries(model) if file.name.endswith(".onnx"))


def _tree_bytes(folder: Path) -> int:
    return sum(
        _tree_bytes(entry) if entry.is_dir() and not entry.is_symlink() else _size(entry)
        for entry in _entries(folder)
    )


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # the repository's own scan reports what cannot be read


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _groups(cgroup: Path) -> Iterator[Path]:
    """This process's control group and those around it (version 2): each may set a limit."""
    own = next(
        (
            line[3:]
            for line in _read(Path("/proc/self/cgroup")).splitlines()
            if line.startswith("0::")
        ),
        "/",
    )
    group = cgroup / own.lstrip("/")
    yield group
    while group != cgroup and cgroup in group.parents:
        group = group.parent
        yield group
    # in a container the path is the host's, and the mount has our own group at its top
    if not (cgroup / own.lstrip("/")).exists():
        yield cgroup


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _text(size_bytes: int) -> str:
    return (
        f"{size_bytes / (1 << 30):.1f} GiB"
        if size_bytes >= 1 << 30
        else f"{size_bytes / (1 << 20):.0f} MiB"
    )
