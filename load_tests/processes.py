"""What the kernel shows of a gateway's processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What one process holds: threads, memory and descriptors."""

    threads: int
    resident_mib: float
    descriptors: int


def serving_pids(group: int) -> list[int]:
    """The serving processes of the gateway that leads this process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (
                os.getpgid(int(path.name)) == group
                and b"child_main" in (path / "cmdline").read_bytes()
            ):
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


def usage(pid: int) -> Usage:
    """What the process holds now; raises OSError when it is gone."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Usage(
        int(fields["Threads"]),
        int(fields["VmRSS"].split()[0]) / 1024,
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )
