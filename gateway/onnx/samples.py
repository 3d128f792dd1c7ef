"""Plausible inputs for a graph, made in the serving process and in the inspection process.

The first warms versions with them, the second takes batching evidence and cost curves on them. Rows
are distinct and of different scale, because what looks over the batch (a mean, the range of a
dynamic quantisation) hides behind rows that are alike. A reference sample says what the graph does
not: free sizes, and which integers and strings the model knows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from gateway.core.datatypes import datatype_of_onnx, numpy_dtype
from gateway.core.errors import ModelFailed
from gateway.core.plan import GraphTensor, TensorSpec
from gateway.onnx.random_values import Draws, is_float, random_array
from gateway.onnx.sample_kind import FREE_SIZES, PLAIN, SampleKind, Values

Array = np.ndarray[Any, Any]
T = TypeVar("T")

_IMAGE_SIZES: Final = (224, 32, 64, 128, 256, 512, 16, 8, 1)
_IMAGE_RANK: Final = 4
# of a row whose sizes are guessed; larger ones come from a reference sample
_MOST_ELEMENTS: Final = 4 << 20


class SampleTensor(msgspec.Struct, frozen=True):
    """What samples need to know of an input."""

    name: str
    datatype: str
    shape: tuple[int | str | None, ...]
    """A str or None is a free size; equal strings are equal sizes."""
    optional: bool = False


def sample_tensors(
    inputs: Sequence[GraphTensor | TensorSpec | SampleTensor],
) -> tuple[SampleTensor, ...]:
    """The same inputs as samples see them, from a graph or from a version's signature.

    Raises KeyError where the protocol lacks the datatype.
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
    rng: Draws,
    kind: SampleKind = PLAIN,
) -> dict[str, Array]:
    """A feed of `rows` distinct rows of different scale, by the input's name.

    `rows` None: one request of a model whose first axis is like any other. Reference arrays have
    the graph's rank (see `load_reference`); their rows are cycled in a random order, the
    same for all inputs.
    """
    tensors = [tensor for tensor in sample_tensors(inputs) if kind.optional or not tensor.optional]
    given = reference or {}
    shapes = _shapes(tensors, rows, given, kind)
    drawn = rng.permutation(max((len(array) for array in given.values() if array.ndim), default=1))
    order = drawn if rows is not None else None
    return {
        tensor.name: _cycled(given[tensor.name], shapes[tensor.name], order)
        if tensor.name in given and _from_reference(tensor, kind)
        else _random(tensor, shapes[tensor.name], rng, kind)
        for tensor in tensors
    }


def _random(tensor: SampleTensor, shape: tuple[int, ...], rng: Draws, kind: SampleKind) -> Array:
    return random_array(tensor.datatype, shape, rng, kind.spread, kind.integer_limit)


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
    sizes: tuple[int, ...] = _IMAGE_SIZES if images else FREE_SIZES
    if not free:
        sizes = FREE_SIZES[:1]
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
    rng: Draws,
    *,
    search_s: float = 2.0,
) -> tuple[SampleKind, dict[str, Array], T]:
    """The first kind of sample that `run` accepts, the feed it ran on and what it returned.

    `run` raises `ModelFailed` for a feed that the model cannot run on; where all kinds fail, or
    `search_s` is over, the first failure is raised.
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
    return kind.values in (Values.REFERENCE, Values.KNOWN) or not is_float(tensor.datatype)


def _shapes(
    tensors: Sequence[SampleTensor], rows: int | None, given: Mapping[str, Array], kind: SampleKind
) -> dict[str, tuple[int, ...]]:
    """Each input's shape, by its name.

    A size is the graph's; where that is free, the reference sample's (the same input's, else that
    of the same symbolic name); where that has none, the kind's.
    """
    named = _named_sizes(tensors, rows, given)

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


def _named_sizes(
    tensors: Sequence[SampleTensor], rows: int | None, given: Mapping[str, Array]
) -> dict[str, int]:
    """What the reference sample says of symbolic sizes; the batch axis is none of them."""
    named: dict[str, int] = {}
    for tensor in tensors:
        if tensor.name in given:
            sizes = zip(tensor.shape, given[tensor.name].shape, strict=False)
            for axis, (size, actual) in enumerate(sizes):
                if isinstance(size, str) and (axis or rows is None):
                    named.setdefault(size, actual)
    return named


def _cycled(array: Array, shape: tuple[int, ...], order: Array | None) -> Array:
    """The reference's rows in this order, as many as wanted; None: in their own order."""
    if not shape or (order is None and array.shape == shape):
        return array
    if len(array) == 0:
        return np.zeros(shape, array.dtype)
    index = np.arange(shape[0]) if order is None else order[np.arange(shape[0]) % len(order)]
    taken: Array = array[index % len(array)]
    return taken
