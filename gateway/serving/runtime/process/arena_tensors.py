"""Tensors in the arena: written one behind the other, described by where they stand, read again.

Runs in a serving process and in its worker processes. Numbers stand as they are in memory, so a
view of the arena is the tensor. BYTES stand in the protocol's raw form.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from gateway.core.datatypes import BYTES, ITEM_BYTES, numpy_dtype
from gateway.core.request import Array
from gateway.protocol.tensors import decode_raw, encode_raw
from gateway.serving.runtime.process.arena import Arena, ArenaFull, aligned


class Place(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A tensor in the arena."""

    name: str
    datatype: str
    offset: int
    size: int
    """Size in bytes."""
    shape: tuple[int, ...]


class Places:
    """Gives room for tensors in the arena, one behind the other from its start."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.end = 0

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array in the arena, to be filled; strings have none there before they are known.

        Raises ArenaFull.
        """
        if dtype.kind in "OUS":
            return np.empty(shape, dtype)
        start = aligned(self.end)
        self.end = start + math.prod(shape) * dtype.itemsize
        if self.end > self._arena.size:
            raise ArenaFull(
                f"with {list(shape)} of {dtype} the batch takes more than the "
                f"{self._arena.size >> 20} MiB that a worker process shares"
            )
        return self._arena.array(start, dtype, shape)


def put(
    arena: Arena, tensors: Iterable[tuple[str, Array]], offset: int
) -> tuple[tuple[Place, ...], int]:
    """Copies tensors into the arena from `offset` on, but for those that stand in it already.

    Returns their places, and where the last one ends. Raises ArenaFull.
    """
    places = []
    for name, array in tensors:
        if (start := arena.offset_of(array)) >= 0:
            places.append(Place(name, _datatype(array.dtype), start, array.nbytes, array.shape))
            continue
        start = aligned(offset)
        datatype = _datatype(array.dtype)
        data = encode_raw(array, BYTES) if datatype == BYTES else b""
        size = len(data) if datatype == BYTES else array.nbytes
        offset = start + size
        if offset > arena.size:
            raise ArenaFull(
                f"with '{name}' {list(array.shape)} the batch takes more than the "
                f"{arena.size >> 20} MiB that a worker process shares"
            )
        if datatype == BYTES:
            arena.write(start, data)
        elif size:
            np.copyto(arena.array(start, array.dtype, array.shape), array)
        places.append(Place(name, datatype, start, size, array.shape))
    return tuple(places), offset


def view(arena: Arena, place: Place) -> Array:
    """The tensor as it stands in the arena; BYTES are a new array of `str`.

    Raises ValueError or TypeError where it is not inside.
    """
    if place.datatype == BYTES:
        return decode_raw(
            arena.read(place.offset, place.size), 0, place.size, BYTES, place.shape, place.name
        )
    dtype = numpy_dtype(place.datatype)
    return (
        np.empty(place.shape, dtype)
        if place.size == 0
        else arena.array(place.offset, dtype, place.shape)
    )


def taken(arena: Arena, place: Place) -> Array:
    """The tensor in memory of its own; all else is as in `view`."""
    array = view(arena, place)
    return array if place.datatype == BYTES or place.size == 0 else array.copy()


@functools.cache
def _datatype(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a dtype; raises ValueError where it has none."""
    if dtype.kind in "OUS":
        return BYTES
    for name in ITEM_BYTES:
        if numpy_dtype(name) == dtype:
            return name
    raise ValueError(f"the protocol has no datatype for {dtype}")
