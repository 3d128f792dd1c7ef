"""The memory that all processes of a gateway share: two files without a name.

It outlives each process but the last, so what a process wrote can be read after its death.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class SharedFiles(NamedTuple):
    """The descriptors of both files; a child inherits them only where they are passed on."""

    statistics: int
    """`gateway.records.counters`."""
    rings: int
    """`gateway.records.ring`."""

    @classmethod
    def create(cls) -> SharedFiles:
        """Makes both files, empty."""
        return cls(*(os.memfd_create(f"gateway-{name}", os.MFD_CLOEXEC) for name in cls._fields))

    def close(self) -> None:
        """Closes the descriptors in this process."""
        for fd in self:
            os.close(fd)
