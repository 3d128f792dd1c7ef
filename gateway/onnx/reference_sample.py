"""Reference samples, read in the serving process and in the inspection process.

They are real inputs that a user puts beside a model, as an .npz file or as a configured warm-up.
What does not fit the graph is left out with a warning: a sample is a hint, and a wrong one never
keeps a model from being served.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateway.core.datatypes import BF16, BYTES, numpy_dtype
from gateway.core.errors import InvalidRequest
from gateway.core.plan import WarmupInput
from gateway.onnx.samples import SampleTensor
from gateway.protocol.tensors import decode_raw

Array = np.ndarray[Any, Any]


def load_reference(
    path: str, inputs: Sequence[SampleTensor]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The inputs' arrays out of an .npz file, and a sentence on each thing that does not fit.

    The arrays have the graph's rank and datatypes; one that lacks the first axis is one row. Arrays
    that name no input (labels, expected outputs) are passed over.
    """
    try:
        stored = _stored(path, inputs)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        return {}, (f"the reference sample {Path(path).name} is not used: {error}",)
    arrays: dict[str, Array] = {}
    faults: list[str] = []
    for tensor in inputs:
        if tensor.name in stored:
            try:
                arrays[tensor.name] = _fitted(stored[tensor.name], tensor)
            except ValueError as error:
                faults.append(f"the reference sample's '{tensor.name}' is not used: {error}")
    return arrays, tuple(faults)


def _stored(path: str, inputs: Sequence[SampleTensor]) -> dict[str, Array]:
    """The arrays of the file that are named like inputs; raises ValueError where none is."""
    with np.load(path, allow_pickle=False) as file:
        stored = {tensor.name: file[tensor.name] for tensor in inputs if tensor.name in file.files}
        if not stored:
            names = ", ".join(file.files) or "nothing"
            raise ValueError(f"it names none of the model's inputs (it has {names})")
    return stored


def reference_of_warmup(
    warmup: Sequence[WarmupInput], inputs: Sequence[SampleTensor]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The same from a configured warm-up request, whose tensors are one row each.

    They are zeros, small random values (0 and 1), or what their file holds.
    """
    by_name = {tensor.name: tensor for tensor in inputs}
    arrays: dict[str, Array] = {}
    faults: list[str] = []
    for entry in warmup:
        tensor = by_name.get(entry.name)
        if tensor is None:
            faults.append(f"the warm-up's '{entry.name}' is not used: the model has no such input")
            continue
        try:
            arrays[entry.name] = _fitted(_warmup_array(entry), tensor)
        except (OSError, ValueError, InvalidRequest) as error:
            faults.append(f"the warm-up's '{entry.name}' is not used: {error}")
    return arrays, tuple(faults)


def _warmup_array(entry: WarmupInput) -> Array:
    """The tensor that a warm-up names; random values are 0 and 1, so that they suit an index."""
    if entry.source == "random" and entry.datatype != BYTES:
        return (
            np.random.default_rng(0).integers(0, 2, entry.shape).astype(numpy_dtype(entry.datatype))
        )
    if entry.source in ("zero", "random"):
        return (
            np.full(entry.shape, "", object)
            if entry.datatype == BYTES
            else np.zeros(entry.shape, numpy_dtype(entry.datatype))
        )
    data = Path(entry.source).read_bytes()
    expected = int(np.prod(entry.shape, dtype=np.int64)) * numpy_dtype(entry.datatype).itemsize
    if entry.datatype != BYTES and len(data) != expected:
        raise ValueError(
            f"{Path(entry.source).name} has {len(data)} bytes, shape {list(entry.shape)} of "
            f"{entry.datatype} takes {expected}"
        )
    return decode_raw(data, 0, len(data), entry.datatype, entry.shape, entry.name)


def _fitted(array: Array, tensor: SampleTensor) -> Array:
    """The array in the graph's rank and datatype; raises ValueError where values would change."""
    if array.ndim == len(tensor.shape) - 1:
        array = array[np.newaxis]
    if array.ndim != len(tensor.shape):
        raise ValueError(
            f"it has rank {array.ndim}, the model's input has rank {len(tensor.shape)}"
        )
    for axis, (size, actual) in enumerate(zip(tensor.shape, array.shape, strict=True)):
        if axis and isinstance(size, int) and size != actual:
            raise ValueError(f"axis {axis} has size {actual}, the model's input has {size}")
    if array.ndim and len(array) == 0:
        raise ValueError("it has no rows")
    return _converted(array, tensor.datatype)


def _converted(array: Array, datatype: str) -> Array:
    if datatype == BYTES:
        return _as_text(array)
    wanted = numpy_dtype(datatype)
    # numpy stores the BF16 it does not know as plain bytes
    if array.dtype == np.dtype("V2") and datatype == BF16:
        array = array.view(wanted)
    if array.dtype == wanted:
        return array
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {array.dtype}, the model's input is {datatype}")
    converted: Array = array.astype(wanted)
    if wanted.kind in "iub" and not np.array_equal(converted.astype(array.dtype), array):
        raise ValueError(f"it holds {array.dtype} values that {datatype} cannot")
    return converted


def _as_text(array: Array) -> Array:
    if array.dtype.kind not in "US":
        if array.dtype.kind == "O" and all(isinstance(element, str) for element in array.ravel()):
            return array
        raise ValueError(f"it holds {array.dtype}, the model's input is BYTES; store text")
    return (np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array).astype(object)
