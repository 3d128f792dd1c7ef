"""How large the rings are (`gateway.records.ring`); known to those who only make the file."""

from __future__ import annotations

import os
from typing import Final

CELL_BYTES: Final = 128
CELLS: Final = 1 << 17
"""Of one ring: 16 MiB, four seconds of 30 000 requests a second.

Memory is taken when it is first written to.
"""
HEAD_BYTES: Final = 4096
RING_BYTES: Final = HEAD_BYTES + CELLS * CELL_BYTES


def size_rings_file(fd: int, slots: int) -> None:
    """Makes an empty file the rings of so many processes."""
    os.ftruncate(fd, slots * RING_BYTES)
