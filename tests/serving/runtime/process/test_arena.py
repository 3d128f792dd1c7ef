"""The shared memory, and tensors in it."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.runtime.process.arena import Arena, ArenaFull, Extent, aligned
from gateway.serving.runtime.process.arena_tensors import Places, put, taken, view
from tests.support.worker_works import TYPES, values


@pytest.fixture(scope="module")
def arena():
    arena, fd = Arena.create(1 << 20)
    os.close(fd)
    yield arena
    arena.close()


def test_it_costs_nothing_until_it_is_written():
    arena, fd = Arena.create()
    assert os.fstat(fd).st_blocks == 0
    arena.write(3 << 30, b"far")
    assert 0 < os.fstat(fd).st_blocks * 512 <= 1 << 16
    arena.free(0)
    assert os.fstat(fd).st_blocks == 0
    assert arena.read(3 << 30, 3) == b"\0\0\0"
    os.close(fd)
    arena.close()


def test_both_ends_see_the_same_memory_and_neither_can_make_it_shorter():
    arena, fd = Arena.create(1 << 16)
    other = Arena(fd)
    arena.write(5, b"hello")
    assert other.read(5, 5) == b"hello"
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    for end in (arena, other):
        end.close()


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(TYPES)), shapes), max_size=5), st.integers(0, 1000)
)
def test_tensors_come_out_as_they_went_in(arena, kinds, offset):
    tensors = [(f"t{i}", values(datatype, shape, i)) for i, (datatype, shape) in enumerate(kinds)]
    places, end = put(arena, tensors, offset)
    assert end <= offset + sum(64 + place.size for place in places)
    for place, (name, array) in zip(places, tensors, strict=True):
        assert place.offset % 64 == 0
        for got in (view(arena, place), taken(arena, place)):
            assert (place.name, got.shape, got.dtype) == (name, array.shape, array.dtype)
            assert got.tolist() == array.tolist()


@given(st.lists(st.tuples(st.sampled_from(sorted(TYPES)), shapes), max_size=5))
def test_tensors_made_in_the_arena_are_not_copied_and_others_stand_behind_them(arena, kinds):
    places_of = Places(arena)
    tensors = []
    for i, (datatype, shape) in enumerate(kinds):
        array = values(datatype, shape, i)
        tensors.append((f"t{i}", places_of.room(array.shape, array.dtype)))
        np.copyto(tensors[-1][1], array)
    places, end = put(arena, tensors, places_of.end)
    spans = sorted((place.offset, place.offset + place.size) for place in places)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert end >= max((span[1] for span in spans), default=0)
    for i, place in enumerate(places):
        assert view(arena, place).tolist() == values(place.datatype, place.shape, i).tolist()
        if place.datatype != "BYTES":
            assert arena.offset_of(tensors[i][1]) == place.offset


def test_what_is_taken_stays_when_the_arena_changes(arena):
    (place,), _ = put(arena, [("x", np.ones((2, 2), "f4"))], 0)
    got = taken(arena, place)
    put(arena, [("x", np.zeros((2, 2), "f4"))], 0)
    assert got.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    "array", [np.ones((1 << 18) + 1, "f4"), np.array(["é" * (1 << 20)], object)]
)
def test_what_does_not_fit_is_refused(arena, array):
    with pytest.raises(ArenaFull, match=r"'x'.*more than the 1 MiB"):
        put(arena, [("x", array)], 0)


def test_a_place_outside_is_no_array(arena):
    (place,), _ = put(arena, [("x", np.ones(4, "f4"))], 0)
    for offset in (arena.size - 8, -64):
        with pytest.raises((ValueError, TypeError)):
            view(arena, type(place)("x", "FP32", offset, 16, (4,)))


@given(st.integers(0, 1 << 40))
def test_aligned_is_the_next_multiple(offset):
    assert offset <= aligned(offset) < offset + 64
    assert aligned(offset) % 64 == 0


@given(st.lists(st.integers(0, 1 << 30), min_size=1, max_size=1200))
def test_memory_is_given_back_only_where_the_latest_batches_did_not_reach(ends):
    extent = Extent()
    touched = 0
    for i, end in enumerate(ends):
        touched = max(touched, end)
        freed = extent.used(end)
        if freed is not None:
            assert freed == max(ends[max(0, i - Extent.LOOK_EVERY + 1) : i + 1])
            assert 4 * freed < touched
            touched = freed


def test_after_one_huge_batch_its_memory_comes_back_within_two_looks():
    extent = Extent()
    freed = [extent.used(1 << 30), *(extent.used(1000) for _ in range(2 * Extent.LOOK_EVERY))]
    assert [f for f in freed if f is not None] == [1000]
