"""The last answer to an input is remembered, and stands in for the version.

It is given to the same input and to no other, while it is not too old; the store keeps to its bytes
and to its share of the time.
"""

import asyncio
import gc
import math
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ModelFailed, Unavailable
from gateway.core.protection import FallbackLink
from gateway.core.request import Prediction
from gateway.serving.policies.fallback.chain import with_fallback
from gateway.serving.policies.fallback.last_answer import LARGEST_INPUT_BYTES, LastAnswers
from tests.support.fallback_parts import CatalogueResolver, Inside, request, spec, version_plan

PLAN = version_plan()


class Clock:
    def __init__(self):
        self.at = 1000.0
        self.step = 0.0

    def __call__(self):
        self.at += self.step
        return self.at


def asking(value, **more):
    return request(PLAN, np.full((1, 2), value, "f4"), **more)


def answering(value, size=1):
    return Prediction((np.full((1, size), value, "f4"),))


def value_of(found):
    return None if found is None else found[0].outputs[0][0, 0]


@given(st.lists(st.tuples(st.sampled_from("sf"), st.integers(0, 5), st.floats(0, 4)), max_size=40))
def test_it_finds_the_last_answer_to_an_input_until_that_is_too_old(steps):
    clock = Clock()
    last = {}
    cache = LastAnswers(1 << 20, 10.0, clock)
    for n, (what, value, passed) in enumerate(steps):
        clock.at += passed
        if what == "s":
            cache.store(asking(value), answering(n))
            last[value] = n, clock.at
            continue
        stored, at = last.get(value, (None, -math.inf))
        found = cache.find(asking(value))
        if clock.at - at > 10.0:
            assert found is None
        else:
            assert (value_of(found), found[1]) == (stored, clock.at - at)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 900)), max_size=60))
def test_it_never_holds_more_than_its_bytes_and_forgets_the_least_recently_used_first(stores):
    cache = LastAnswers(8192, 10.0, Clock())
    recent = []
    for value, size in stores:
        cache.store(asking(value), answering(value, size))
        if value in recent:
            recent.remove(value)
        recent.append(value)
        assert cache._bytes == sum(entry.bytes for entry in cache._entries.values()) <= 8192
    kept = [value for value in recent if cache.find(asking(value)) is not None]
    assert kept == recent[len(recent) - len(kept) :]


def test_what_it_holds_takes_no_more_memory_than_its_bytes():
    most = 4 << 20
    clock = Clock()
    cache = LastAnswers(most, 1e9, clock)
    plan = version_plan(outputs=(spec("y"), spec("label", (-1,), "BYTES")))
    gc.collect()
    tracemalloc.start()
    try:
        for i in range(20_000):
            batch = np.zeros((64, 8), "f4")
            labels = np.array([f"label number {i}"], object)
            cache.store(
                request(plan, np.full((1, 2), i, "f4")),
                Prediction((batch[i % 64 : i % 64 + 1], labels)),
            )
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.05 * most
    assert cache._bytes > 0.9 * most


def test_an_answer_larger_than_the_cache_is_not_kept_and_takes_nothing_elses_place():
    cache = LastAnswers(4096, 10.0, Clock())
    cache.store(asking(1), answering(1))
    cache.store(asking(2), answering(2, 10_000))
    assert value_of(cache.find(asking(1))) == 1
    assert cache.find(asking(2)) is None


def test_inputs_and_outputs_asked_for_are_told_apart():
    plan = version_plan(
        inputs=(spec("a", (-1, -1)), spec("b", (-1, -1))), outputs=(spec("y"), spec("z"))
    )
    cache = LastAnswers(1 << 20, 10.0, Clock())
    a = np.zeros((1, 2), "f4")
    b = np.ones((1, 2), "f4")
    several = [
        request(plan, a, b),
        request(plan, b, a),
        request(plan, a, b, outputs=(0,)),
        request(plan, a, b, outputs=(1, 0)),
        request(plan, a, names=("a",)),
        request(plan, a, names=("b",)),
        request(plan, a.reshape(2, 1), b.reshape(2, 1)),
        request(plan, np.zeros((1, 1), "f4"), np.array([[0, 1, 1]], "f4")),
    ]
    for i, asked in enumerate(several):
        cache.store(asked, answering(i))
    assert [value_of(cache.find(asked)) for asked in several] == list(range(len(several)))


@given(
    st.lists(st.text(max_size=3), min_size=2, max_size=2),
    st.lists(st.text(max_size=3), min_size=2, max_size=2),
)
def test_lists_of_strings_are_the_same_only_where_each_string_is(one, other):
    plan = version_plan(inputs=(spec("s", (-1, 2), "BYTES"),))
    cache = LastAnswers(1 << 20, 10.0, Clock())
    cache.store(request(plan, np.array([one], object)), answering(1))
    assert (cache.find(request(plan, np.array([other], object))) is not None) == (one == other)


@pytest.mark.parametrize("datatype", ["f2", "f8", "?", "i1", "u8", ml_dtypes.bfloat16])
def test_arrays_of_every_datatype_that_start_anywhere_in_memory_can_be_told(datatype):
    dtype = np.dtype(datatype)
    message = bytearray(dtype.itemsize * 6 + 1)
    message[3] = 1
    view = np.ndarray((3, 2), dtype, bytes(message), 1)
    cache = LastAnswers(1 << 20, 10.0, Clock())
    cache.store(request(PLAN, view), answering(1))
    assert value_of(cache.find(request(PLAN, np.asfortranarray(view)))) == 1
    assert cache.find(request(PLAN, np.zeros((3, 2), dtype))) is None


def test_what_it_holds_is_its_own_and_nobody_can_write_into_it():
    cache = LastAnswers(1 << 20, 10.0, Clock())
    batch = np.ones((64, 2), "f4")
    cache.store(asking(1), Prediction((batch[3:4],), {"kept": True}))
    batch[:] = 7
    found, _ = cache.find(asking(1))
    assert found.outputs[0].tolist() == [[1, 1]]
    assert found.outputs[0].base is None
    assert found.parameters == {"kept": True}
    with pytest.raises(ValueError, match="read-only"):
        found.outputs[0][:] = 0


def test_remembering_takes_a_twentieth_of_the_time_at_most():
    clock = Clock()
    cache = LastAnswers(1 << 20, 1e9, clock)
    clock.step = 0.01  # a store reads the clock twice, so that it takes 10 ms
    for i in range(100):
        cache.store(asking(i), answering(i))
    assert 1.0 <= clock.at - 1000.0 <= 1.2
    assert 5 <= len(cache._entries) <= 12
    clock.at += 10
    cache.store(asking(1000), answering(7))
    assert value_of(cache.find(asking(1000))) == 7


def test_large_inputs_are_not_hashed():
    cache = LastAnswers(64 << 20, 10.0, Clock())
    large = request(PLAN, np.zeros((1, LARGEST_INPUT_BYTES // 4 + 1), "f4"))
    cache.store(large, answering(1))
    assert cache.find(large) is None
    assert "1 passed over" in repr(cache)


def test_a_version_that_fails_is_answered_from_what_it_said_before():
    clock = Clock()
    inner = Inside()
    plan = version_plan(FallbackLink(cache_age_s=10.0))
    stack = with_fallback(inner, plan, CatalogueResolver(), clock)
    assert asyncio.run(stack.predict(asking(3))).parameters is None
    inner.error = Unavailable("gone")
    clock.at += 2.5
    answer = asyncio.run(stack.predict(asking(3)))
    assert answer.outputs[0].tolist() == [[6, 6]]
    assert answer.parameters == {
        "served_by": "cache",
        "age_ms": 2500,
        "degraded": True,
        "fallback_reason": "unavailable: gone",
    }
    with pytest.raises(Unavailable, match="gone"):
        asyncio.run(stack.predict(asking(4)))
    clock.at += 8
    with pytest.raises(Unavailable, match="gone"):
        asyncio.run(stack.predict(asking(3)))


def test_what_a_fallback_answered_is_not_remembered():
    inner = Inside(ModelFailed("x"))
    plan = version_plan(FallbackLink(cache_age_s=10.0), FallbackLink(constant={"y": [0, 0]}))
    stack = with_fallback(inner, plan, CatalogueResolver(), Clock())
    for _ in range(2):
        assert asyncio.run(stack.predict(asking(3))).parameters["served_by"] == "constant"
