"""How large the rings of the serving processes are (`gateway.records.ring`).

It stands apart from them because the main process only makes the file.
"""

from __future__ import annotations

import os
from typing import Final

CELL_BYTES: Final = 128
CELLS: Final = 1 << 17
"""The cells of one ring: 16 MiB, four seconds of 30 000 requests a second.

Memory is taken when it is first written to.
"""
HEAD_BYTES: Final = 4096
RING_BYTES: Final = HEAD_BYTES + CELLS * CELL_BYTES


def size_rings_file(fd: int, slots: int) -> None:
    """Makes an empty file the rings of so many serving processes."""
    os.ftruncate(fd, slots * RING_BYTES)
