"""Rows of a file as a reference sample, for the command line: chosen, written, and read again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gateway.cli.command_errors import FAILED, CommandError
from gateway.cli.tensors.predictions import Output, as_npz
from gateway.core.plan import TensorSpec
from gateway.core.request import Array
from gateway.onnx.reference_sample import load_reference
from gateway.onnx.samples import SampleTensor

_ROWS_MAY_FOLLOW: Final = 1


def input_specs(tensors: Sequence[SampleTensor]) -> tuple[TensorSpec, ...]:
    """A graph's inputs as tensors of a file are checked against.

    The first axis is free where its size is 1, too: trial runs take their rows one by one.
    """
    return tuple(
        TensorSpec(tensor.name, tensor.datatype, _shape(tensor.shape), tensor.optional)
        for tensor in tensors
    )


def _shape(sizes: Sequence[int | str | None]) -> tuple[int, ...]:
    shape = [size if isinstance(size, int) else -1 for size in sizes]
    if len(shape) > _ROWS_MAY_FOLLOW and shape[0] == 1:
        shape[0] = -1
    return tuple(shape)


def chosen_rows(
    arrays: Mapping[str, Array], specs: Sequence[TensorSpec], most: int
) -> tuple[dict[str, Array], int, int]:
    """At most so many rows, evenly spread over the file, how many those are, and of how many.

    Files are often sorted by class, so the first rows would be alike. Raises ValueError where the
    inputs have not as many rows each.
    """
    free = [spec.name for spec in specs if spec.name in arrays and spec.shape[:1] == (-1,)]
    counts = {name: len(arrays[name]) for name in free}
    if len(set(counts.values())) > 1:
        words = ", ".join(f"'{name}' has {count}" for name, count in counts.items())
        raise ValueError(f"the inputs have different numbers of rows: {words}")
    count = next(iter(counts.values()), 1)
    if not count:
        raise ValueError("has no rows")
    index = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
    rows = {name: array[index] if name in free else array for name, array in arrays.items()}
    return rows, len(index) if free else 1, count


def write_reference(
    path: Path, arrays: Mapping[str, Array], tensors: Sequence[SampleTensor]
) -> None:
    """Writes the file, whole or not at all, once it reads as trial runs will read it.

    Raises `CommandError`.
    """
    datatypes = {tensor.name: tensor.datatype for tensor in tensors}
    outputs = [Output(name, datatypes[name], array) for name, array in arrays.items()]
    try:
        with tempfile.TemporaryDirectory(prefix=".reference-", dir=path.parent) as folder:
            written = Path(folder) / path.name
            written.write_bytes(as_npz(outputs))
            _, faults = load_reference(str(written), tensors)
            if faults:
                raise CommandError(faults, FAILED)
            written.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}", FAILED) from error
