"""Plausible inputs for a graph.

What a version is warmed with, and what its batching evidence and cost curve are taken on.

Rows are distinct and of different scale, because what looks over the batch (a mean, the range of a
dynamic quantisation) hides behind rows that are alike. A reference sample says what the graph does
not: free sizes, and which integers and strings the model knows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

import numpy as np

from gateway.core.datatypes import BF16, BYTES, datatype_of_onnx, numpy_dtype
from gateway.core.errors import ModelFailed
from gateway.core.plan import GraphTensor, TensorSpec

Array = np.ndarray[Any, Any]
T = TypeVar("T")

_FREE_SIZES: Final = (16, 8, 32, 1, 2, 3, 4, 64, 128, 10, 224, 256, 512)
_IMAGE_SIZES: Final = (224, 32, 64, 128, 256, 512, 16, 8, 1)
_IMAGE_RANK: Final = 4
# of a row whose sizes are guessed; larger ones come from a reference sample
_MOST_ELEMENTS: Final = 4 << 20
_WORDS: Final = ("red", "grün", "blue", "東京", "no", "yes", "alpha", "beta")


class Values(Enum):
    """Where the elements of a sample come from.

    In each, integers and strings come from the reference sample where it has the input.
    """

    SIGNED = "random values"
    """Normal, the rows' scales spread from 0.01 to 10."""
    POSITIVE = "random positive values"
    """Uniform, the rows' scales spread from 0.1 to 1.

    For graphs with a logarithm or a root in them.
    """
    REFERENCE = "the reference sample's values"
    """Rows of the reference sample wherever it has the input."""


@dataclass(frozen=True, slots=True)
class SampleTensor:
    """What samples need to know of an input."""

    name: str
    datatype: str
    shape: tuple[int | str | None, ...]
    """A str or None is free; equal strings are equal sizes."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class SampleKind:
    """One way to make a sample, where the graph leaves several."""

    free_size: int = _FREE_SIZES[0]
    """Of free inner axes that the reference sample does not settle."""
    integer_limit: int = 10
    """Integers lie below it (bytes below 256 where it is 10)."""
    values: Values = Values.SIGNED
    optional: bool = False
    """Optional inputs are given as well."""


def sample_tensors(
    inputs: Sequence[GraphTensor | TensorSpec | SampleTensor],
) -> tuple[SampleTensor, ...]:
    """The same inputs as samples see them, from a graph or from a signature.

    KeyError where the protocol lacks a datatype.
    """
    return tuple(_sample_tensor(tensor) for tensor in inputs)


def _sample_tensor(tensor: GraphTensor | TensorSpec | SampleTensor) -> SampleTensor:
    if isinstance(tensor, SampleTensor):
        return tensor
    if isinstance(tensor, GraphTensor):
        datatype = datatype_of_onnx(tensor.onnx_type)
        if datatype is None:
            raise KeyError(tensor.onnx_type)
        return SampleTensor(tensor.name, datatype, tensor.shape, tensor.optional)
    shape = tensor.shape if tensor.model_shape is None else tensor.model_shape
    return SampleTensor(
        tensor.name,
        tensor.datatype,
        tuple(None if size < 0 else size for size in shape),
        tensor.optional,
    )


def sample_rows(
    inputs: Sequence[GraphTensor | TensorSpec | SampleTensor],
    rows: int | None,
    reference: Mapping[str, Array] | None,
    rng: np.random.Generator,
    kind: SampleKind = SampleKind(),
) -> dict[str, Array]:
    """A feed of `rows` distinct rows of different scale.

    `rows` None: one request of a model whose first axis is like any other.

    Reference arrays have the graph's rank (see `gateway.onnx.reference`); their rows are cycled in
    a random order, the same for all inputs.
    """
    tensors = [tensor for tensor in sample_tensors(inputs) if kind.optional or not tensor.optional]
    given = reference or {}
    shapes = _shapes(tensors, rows, given, kind)
    order = rng.permutation(max((len(array) for array in given.values() if array.ndim), default=1))
    return {
        tensor.name: _cycled(
            given[tensor.name], shapes[tensor.name], order if rows is not None else None
        )
        if tensor.name in given and _from_reference(tensor, kind)
        else _random(tensor.datatype, shapes[tensor.name], rng, kind)
        for tensor in tensors
    }


def sample_kinds(
    inputs: Sequence[GraphTensor | TensorSpec | SampleTensor],
    rows: int | None,
    reference: Mapping[str, Array] | None,
) -> Iterator[SampleKind]:
    """The kinds worth trying until a run succeeds, most plausible first.

    Only what the reference sample leaves open is varied.
    """
    given = reference or {}
    open_tensors = [
        tensor
        for tensor in sample_tensors(inputs)
        if not tensor.optional and tensor.name not in given
    ]
    shapes = [tensor.shape[rows is not None :] for tensor in open_tensors]
    free = [shape for shape in shapes if any(not isinstance(size, int) for size in shape)]
    images = any(len(tensor.shape) == _IMAGE_RANK for tensor in open_tensors)
    sizes = (_IMAGE_SIZES if images else _FREE_SIZES) if free else _FREE_SIZES[:1]
    integers = any(np.dtype(numpy_dtype(tensor.datatype)).kind in "iu" for tensor in open_tensors)
    for size in sizes:
        if all(_elements(shape, size) <= _MOST_ELEMENTS for shape in free) or size == min(sizes):
            for limit in (10, 2, 1) if integers else (10,):
                yield SampleKind(size, limit, Values.SIGNED)
    if given:
        yield SampleKind(sizes[0], 10, Values.REFERENCE)


def find_sample(
    run: Callable[[dict[str, Array]], T],
    inputs: Sequence[GraphTensor | TensorSpec | SampleTensor],
    rows: int | None,
    reference: Mapping[str, Array] | None,
    rng: np.random.Generator,
    *,
    search_s: float = 2.0,
) -> tuple[SampleKind, dict[str, Array], T]:
    """The first kind of sample that `run` takes, the feed it took and what it returned.

    `run` raises ModelFailed for a feed the model cannot run on; where all kinds fail, or `search_s`
    is over, the first failure is raised.
    """
    until = time.monotonic() + search_s
    failure = None
    for kind in sample_kinds(inputs, rows, reference):
        feed = sample_rows(inputs, rows, reference, rng, kind)
        try:
            return kind, feed, run(feed)
        except ModelFailed as error:
            failure = failure or error
        if time.monotonic() > until:
            break
    assert failure is not None, "there is always a kind"
    raise failure


def _elements(shape: tuple[int | str | None, ...], free_size: int) -> float:
    return math.prod(size if isinstance(size, int) else free_size for size in shape)


def _from_reference(tensor: SampleTensor, kind: SampleKind) -> bool:
    return kind.values is Values.REFERENCE or not _is_float(tensor.datatype)


def _is_float(datatype: str) -> bool:
    return datatype == BF16 or datatype.startswith("FP")


def _shapes(
    tensors: Sequence[SampleTensor], rows: int | None, given: Mapping[str, Array], kind: SampleKind
) -> dict[str, tuple[int, ...]]:
    """Each input's shape.

    Sizes of the graph, then of the reference sample (by input, then by
    symbolic name), then the kind's.
    """
    named: dict[str, int] = {}
    for tensor in tensors:
        if tensor.name in given:
            for axis, (size, actual) in enumerate(
                zip(tensor.shape, given[tensor.name].shape, strict=False)
            ):
                if isinstance(size, str) and (axis or rows is None):
                    named.setdefault(size, actual)

    def size_of(tensor: SampleTensor, axis: int) -> int:
        size = tensor.shape[axis]
        if isinstance(size, int):
            return size
        if axis == 0 and rows is not None:
            return rows
        if tensor.name in given and given[tensor.name].ndim == len(tensor.shape):
            return int(given[tensor.name].shape[axis])
        return named.get(size, kind.free_size) if size is not None else kind.free_size

    return {
        tensor.name: tuple(size_of(tensor, axis) for axis in range(len(tensor.shape)))
        for tensor in tensors
    }


def _cycled(array: Array, shape: tuple[int, ...], order: Array | None) -> Array:
    """The reference's rows in this order, as many as wanted.

    Its own where no order is given and the sizes agree.
    """
    if not shape or (order is None and array.shape == shape):
        return array
    if len(array) == 0:
        return np.zeros(shape, array.dtype)
    index = np.arange(shape[0]) if order is None else order[np.arange(shape[0]) % len(order)]
    taken: Array = array[index % len(array)]
    return taken


def _random(
    datatype: str, shape: tuple[int, ...], rng: np.random.Generator, kind: SampleKind
) -> Array:
    if datatype == BYTES:
        return _strings(shape, rng)
    if datatype == "BOOL":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if not _is_float(datatype):
        return _integers(datatype, shape, rng, kind)
    rows = shape[0] if shape else 1
    if kind.values is Values.POSITIVE:
        array = rng.random(shape, np.float32) * _per_row(
            10 ** rng.permutation(np.linspace(-1, 0, rows)), shape
        )
    else:
        array = rng.standard_normal(shape, np.float32) * _per_row(_signed_scales(rows, rng), shape)
    return np.asarray(array, numpy_dtype(datatype))


def _signed_scales(rows: int, rng: np.random.Generator) -> Array:
    scales: Array = 10 ** rng.permutation(np.linspace(-2, 1, rows)) if rows > 1 else np.ones(rows)
    return scales


def _integers(
    datatype: str, shape: tuple[int, ...], rng: np.random.Generator, kind: SampleKind
) -> Array:
    """Small integers, each row with a limit of its own, neighbours beginning differently."""
    most = (
        256
        if datatype == "UINT8" and kind.integer_limit == SampleKind().integer_limit
        else kind.integer_limit
    )
    rows = shape[0] if shape else 1
    limits = (
        rng.permutation(np.linspace(min(2, most), most, rows)).astype(np.int64)
        if rows > 1
        else np.full(rows, most)
    )
    values = rng.integers(0, _per_row(limits, shape), shape) if shape else rng.integers(0, most, ())
    array = np.asarray(values, np.int64)
    if array.ndim and array.size:
        array.reshape(rows, -1)[:, 0] = np.arange(rows) % most
    return array.astype(numpy_dtype(datatype))


def _strings(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    count = int(np.prod(shape, dtype=np.int64))
    array = np.empty(count, object)
    array[:] = [
        f"{_WORDS[int(choice)]} {i}" for i, choice in enumerate(rng.integers(0, len(_WORDS), count))
    ]
    return array.reshape(shape)


def _per_row(values: Array, shape: tuple[int, ...]) -> Array:
    """One value a row, shaped to multiply rows; the plain value for rank 0."""
    return values.reshape(-1, *(1,) * (len(shape) - 1)) if shape else values[0]
