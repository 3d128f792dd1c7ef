"""The memory that all processes of a gateway share and that outlives each of them.

Two files without a name.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class SharedFiles(NamedTuple):
    """Their descriptors, inherited by none unless passed on."""

    statistics: int
    """`gateway.records.counters`."""
    rings: int
    """`gateway.records.ring`."""

    @classmethod
    def create(cls) -> SharedFiles:
        """Empty ones."""
        return cls(*(os.memfd_create(f"gateway-{name}", os.MFD_CLOEXEC) for name in cls._fields))

    def close(self) -> None:
        """Closes them here."""
        for fd in self:
            os.close(fd)
