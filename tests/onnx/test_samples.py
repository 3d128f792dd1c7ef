"""Samples fit the graph, whichever dimensions it leaves open."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.datatypes import ITEM_BYTES, numpy_dtype
from gateway.core.errors import ModelFailed
from gateway.core.plan import GraphTensor, TensorSpec
from gateway.onnx.sample_kind import SampleKind, Values
from gateway.onnx.samples import (
    SampleTensor,
    find_sample,
    sample_kinds,
    sample_rows,
    sample_tensors,
)

DATATYPES = [*ITEM_BYTES, "BYTES"]
kinds = st.builds(
    SampleKind,
    st.integers(1, 9),
    st.sampled_from([10, 2, 1]),
    st.sampled_from(Values),
    st.booleans(),
)
sizes = st.one_of(st.integers(0, 4), st.none(), st.sampled_from(["a", "b"]))
tensors = st.lists(
    st.builds(
        SampleTensor,
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(DATATYPES),
        st.lists(sizes, max_size=4).map(tuple),
        st.booleans(),
    ),
    unique_by=lambda tensor: tensor.name,
    max_size=3,
)


def rng():
    return np.random.default_rng(0)


@given(tensors, st.one_of(st.none(), st.integers(1, 6)), kinds)
def test_a_sample_has_the_graphs_datatypes_and_sizes_and_equal_names_are_equal_sizes(
    inputs, rows, kind
):
    feed = sample_rows(inputs, rows, None, rng(), kind)

    named = {}
    assert set(feed) == {tensor.name for tensor in inputs if kind.optional or not tensor.optional}
    for tensor in inputs:
        if tensor.name in feed:
            array = feed[tensor.name]
            assert array.dtype == numpy_dtype(tensor.datatype)
            assert array.ndim == len(tensor.shape)
            for axis, (size, actual) in enumerate(zip(tensor.shape, array.shape, strict=True)):
                if isinstance(size, int):
                    assert actual == size
                elif axis == 0 and rows is not None:
                    assert actual == rows
                elif size is not None:
                    assert named.setdefault(size, actual) == actual


@given(
    st.sampled_from(DATATYPES), st.integers(2, 8), st.sampled_from([Values.SIGNED, Values.POSITIVE])
)
def test_rows_are_distinct(datatype, rows, values):
    (array,) = sample_rows(
        [SampleTensor("x", datatype, (None, 64))], rows, None, rng(), SampleKind(values=values)
    ).values()

    assert len({tuple(row.tolist()) for row in array}) == rows


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_rows_of_floats_are_spread_over_three_orders_of_magnitude(datatype):
    (array,) = sample_rows([SampleTensor("x", datatype, ("N", 64))], 5, None, rng()).values()
    scales = np.sort(np.abs(array.astype(np.float64)).max(axis=1))

    assert scales[-1] / scales[0] > 300
    assert (array.astype(np.float64) < 0).any()


def test_positive_rows_are_positive_and_of_different_scale():
    (array,) = sample_rows(
        [SampleTensor("x", "FP32", ("N", 64))], 5, None, rng(), SampleKind(values=Values.POSITIVE)
    ).values()

    assert (array >= 0).all()
    assert np.ptp(np.log10(array.max(axis=1))) > 0.9


@pytest.mark.parametrize(
    ("datatype", "limit"), [("INT64", 10), ("INT8", 10), ("UINT8", 256), ("UINT32", 10)]
)
def test_integers_are_small_and_their_range_is_each_rows_own(datatype, limit):
    (array,) = sample_rows([SampleTensor("x", datatype, ("N", 500))], 5, None, rng()).values()

    assert array.min() == 0
    assert len({int(row[1:].max()) for row in array}) == 5
    assert limit // 2 < array.max() < limit
    (tiny,) = sample_rows(
        [SampleTensor("x", datatype, ("N", 500))], 5, None, rng(), SampleKind(integer_limit=1)
    ).values()
    assert not tiny.any()


def test_strings_are_short_text_beyond_ascii():
    (array,) = sample_rows([SampleTensor("x", "BYTES", ("N", 20))], 2, None, rng()).values()

    assert all(
        isinstance(element, str) and 0 < len(element.encode()) < 20 for element in array.ravel()
    )
    assert any(not element.isascii() for element in array.ravel())


REFERENCE = {
    "ids": np.arange(30, dtype=np.int64).reshape(5, 6) * 100,
    "x": np.full((5, 7), 3.0, np.float32),
}
INPUTS = [
    SampleTensor("ids", "INT64", ("N", "length")),
    SampleTensor("x", "FP32", ("N", None)),
    SampleTensor("mask", "BOOL", (None, "length")),
]


def test_a_reference_sample_gives_the_sizes_the_integers_and_by_name_the_sizes_of_others():
    feed = sample_rows(INPUTS, 12, REFERENCE, rng())

    assert {name: array.shape for name, array in feed.items()} == {
        "ids": (12, 6),
        "x": (12, 7),
        "mask": (12, 6),
    }
    assert {tuple(row) for row in feed["ids"].tolist()} == {
        tuple(row) for row in REFERENCE["ids"].tolist()
    }
    assert len(np.unique(feed["x"])) > 12


def test_reference_values_are_whole_rows_in_one_order_for_all_inputs():
    reference = {"ids": REFERENCE["ids"], "x": REFERENCE["ids"][:, :1].astype(np.float32)}

    feed = sample_rows(INPUTS[:2], 5, reference, rng(), SampleKind(values=Values.REFERENCE))

    assert feed["x"][:, 0].tolist() == feed["ids"][:, 0].tolist()
    assert sorted(feed["x"][:, 0]) == sorted(reference["x"][:, 0])


def test_one_request_is_the_reference_sample_as_it_is_and_a_fixed_first_axis_takes_what_it_holds():
    inputs = [
        SampleTensor("ids", "INT64", ("T", 6)),
        SampleTensor("one", "INT64", (1, 6)),
        SampleTensor("k", "INT64", ()),
    ]

    feed = sample_rows(
        inputs, None, {"ids": REFERENCE["ids"], "one": REFERENCE["ids"], "k": np.array(7)}, rng()
    )

    assert np.array_equal(feed["ids"], REFERENCE["ids"])
    assert np.array_equal(feed["one"], REFERENCE["ids"][:1])
    assert feed["k"] == 7


def test_inputs_are_taken_from_a_graph_or_from_a_signature():
    graph = GraphTensor("x", "tensor(float16)", ("N", None, 3), optional=True)
    spec = TensorSpec("y", "INT32", (-1, 4), model_shape=(-1, 2, 2))

    assert sample_tensors([graph, spec]) == (
        SampleTensor("x", "FP16", ("N", None, 3), True),
        SampleTensor("y", "INT32", (None, 2, 2)),
    )
    with pytest.raises(KeyError):
        sample_tensors([GraphTensor("z", "seq(tensor(float))", ())])


def test_only_what_is_open_is_varied():
    settled = list(sample_kinds([SampleTensor("x", "FP32", ("N", 4))], 1, None))
    image = list(sample_kinds([SampleTensor("x", "FP32", ("N", 3, "H", "W"))], 1, None))
    words = list(sample_kinds([SampleTensor("x", "INT64", ("N", 4))], 1, None))
    time = list(sample_kinds([SampleTensor("x", "FP32", ("T", 4))], None, None))
    known = list(sample_kinds(INPUTS[:2], 1, REFERENCE))

    assert settled == [SampleKind()]
    assert [kind.free_size for kind in image][:2] == [224, 32]
    assert [kind.integer_limit for kind in words] == [10, 2, 1]
    assert len(time) > 10
    assert [kind.values for kind in known] == [Values.SIGNED, Values.REFERENCE]


def test_sizes_that_would_take_gigabytes_are_not_tried():
    volume = [SampleTensor("x", "FP32", ("N", *("abcd")))]

    assert max(kind.free_size for kind in sample_kinds(volume, 1, None)) <= 32


def test_the_first_kind_that_runs_is_found():
    def run(feed):
        if feed["x"].shape != (2, 32) or feed["x"].max() > 1:
            raise ModelFailed(f"not {feed['x'].shape}")
        return "ran"

    kind, feed, answer = find_sample(
        run, [SampleTensor("x", "INT64", ("N", "length"))], 2, None, rng()
    )

    assert (kind.free_size, kind.integer_limit, answer) == (32, 2, "ran")
    assert feed["x"].shape == (2, 32)


def test_where_nothing_runs_the_first_failure_is_told():
    def run(feed):
        raise ModelFailed(f"not {feed['x'].shape}")

    with pytest.raises(ModelFailed, match=r"not \(2, 16\)"):
        find_sample(run, [SampleTensor("x", "FP32", ("N", "length"))], 2, None, rng())
