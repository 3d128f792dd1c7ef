"""The memory that a worker process shares with its serving process.

It is a sparse file without a name, mapped whole by both ends, as large as any batch may be from the
start, and costs what has been written. So it never grows, no end ever maps it anew, and addresses
in it stay good for as long as the process lives. Its size is sealed: reading it cannot fault
whatever the other end does. The kernel frees it with its last user, whichever end dies first.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from typing import Any, Final, Self

import numpy as np

from gateway.core.request import Array

ARENA_BYTES: Final = 4 << 30
"""The most that the inputs and outputs of one batch may take."""
ALIGNMENT: Final = 64
"""Every tensor begins at a cache line, as in ONNX Runtime's own allocator."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class ArenaFull(Exception):
    """The tensors of a batch do not fit."""


class Arena:
    """The mapped memory.

    Arrays in it are views: valid as long as the view is, changed by the next batch.
    """

    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, self.size)  # keeps a descriptor of its own
        self._address = np.frombuffer(self._map, np.uint8, 1).ctypes.data
        with contextlib.suppress(OSError):
            self._map.madvise(mmap.MADV_DONTDUMP)  # callers' data does not belong into a core file

    @classmethod
    def create(cls, size: int = ARENA_BYTES) -> tuple[Self, int]:
        """A new one and the descriptor to hand on, which the caller closes; raises OSError."""
        fd = os.memfd_create("gateway-worker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return cls(fd), fd
        except OSError:
            os.close(fd)
            raise

    def array(self, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """A view; raises ValueError or TypeError where it would reach outside."""
        if offset < 0:  # the end alone is checked by numpy
            raise ValueError(f"the arena begins at 0, not at {offset}")
        return np.ndarray(shape, dtype, self._map, offset)

    def offset_of(self, array: Array) -> int:
        """Where an array stands; -1 where it is not in here."""
        offset = array.__array_interface__["data"][0] - self._address
        return offset if 0 <= offset < self.size else -1

    def read(self, offset: int, size: int) -> bytes:
        """A copy of some bytes."""
        return self._map[offset : offset + size]

    def write(self, offset: int, data: bytes) -> None:
        """Copies bytes in."""
        self._map[offset : offset + len(data)] = data

    def free(self, offset: int) -> None:
        """Gives the memory from there on back to the machine; it reads as zeros after that."""
        start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        if start < self.size:
            with contextlib.suppress(OSError):  # a kernel that cannot keeps it
                self._map.madvise(mmap.MADV_REMOVE, start, self.size - start)

    def close(self) -> None:
        """Unmaps it; where views are left, the last of them does so."""
        with contextlib.suppress(BufferError):
            self._map.close()

    def __repr__(self) -> str:
        return f"<Arena {self.size >> 20} MiB>"


class Extent:
    """How far an arena is filled, and when the unused rest should be given back."""

    LOOK_EVERY: Final = 256
    """Batches between two refreshes at how much was needed."""
    KEPT_BYTES: Final = 16 << 20
    """So little is not worth giving back."""

    def __init__(self) -> None:
        self._touched = 0
        self._needed = 0
        self._batches = 0

    def used(self, end: int) -> int | None:
        """Notes a batch that reached up to `end`.

        Returns the offset from which on memory should be freed now; None: nowhere.
        """
        self._needed = max(self._needed, end)
        self._touched = max(self._touched, end)
        self._batches += 1
        if self._batches < self.LOOK_EVERY:
            return None
        needed = self._needed
        self._needed = 0
        self._batches = 0
        if self._touched <= max(self.KEPT_BYTES, 4 * needed):
            return None
        self._touched = needed
        return needed


def aligned(offset: int) -> int:
    """The next offset where a tensor may begin."""
    return -(-offset // ALIGNMENT) * ALIGNMENT
