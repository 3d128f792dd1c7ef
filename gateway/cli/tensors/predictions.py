"""A model's answer as the command line shows it: a table for people, JSON, or arrays."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.cli.reports.tables import table
from gateway.core.datatypes import BF16, BYTES
from gateway.core.request import Array
from gateway.protocol.generated.inference_pb2 import ModelInferResponse
from gateway.protocol.signature import shape_text
from gateway.protocol.tensors import decode_raw, decode_typed

_MOST_IN_A_CELL: Final = 10
_MOST_CLASSES: Final = 4
"""Of a row's classes that are shown with their names; of more the likeliest are."""
_MATRIX: Final = 2  # axes of an output that a table shows a row a line


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an answer."""

    name: str
    datatype: str
    array: Array
    labels: tuple[str, ...] = ()
    """Class names of its columns; empty: it has none."""


def read_outputs(
    response: ModelInferResponse, labels: Mapping[str, tuple[str, ...]] = {}
) -> tuple[Output, ...]:
    """The outputs of an answer, raw or typed; `labels` are class names by output.

    Raises InvalidRequest where they are not well formed.
    """
    outputs = []
    for i, tensor in enumerate(response.outputs):
        shape = tuple(tensor.shape)
        if i < len(response.raw_output_contents):
            raw = response.raw_output_contents[i]
            array = decode_raw(raw, 0, len(raw), tensor.datatype, shape, tensor.name)
        else:
            array = decode_typed(tensor.contents, tensor.datatype, shape, tensor.name)
        names = labels.get(tensor.name, ())
        fits = array.ndim == _MATRIX and array.shape[1] == len(names)
        outputs.append(Output(tensor.name, tensor.datatype, array, names if fits else ()))
    return tuple(outputs)


def as_table(outputs: Sequence[Output]) -> str:
    """A table with a line for each row, of the outputs that have rows, where all have as many.

    Other outputs follow below it, each by itself.
    """
    rows = {output.array.shape[0] for output in outputs if output.array.ndim in (1, _MATRIX)}
    in_rows = (
        [output for output in outputs if output.array.ndim in (1, _MATRIX)]
        if len(rows) == 1
        else []
    )
    parts = []
    if in_rows:
        header = ["row", *(f"{output.name} {output.datatype}" for output in in_rows)]
        cells = [
            [str(row), *(_row_text(output, row) for output in in_rows)] for row in range(min(rows))
        ]
        parts.append(table(header, cells))
    for output in outputs:
        if output not in in_rows:
            text = np.array2string(_shown(output), threshold=200, max_line_width=120)
            parts.append(
                f"{output.name} {output.datatype} {shape_text(output.array.shape)}\n{text}"
            )
    return "\n\n".join(parts)


def as_json(response: ModelInferResponse, outputs: Sequence[Output]) -> str:
    """The answer as the protocol's JSON, with data nested as the shapes say."""
    described = [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.array.shape),
            **({"parameters": {"labels": list(output.labels)}} if output.labels else {}),
            "data": _shown(output).tolist(),
        }
        for output in outputs
    ]
    document: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
    }
    if response.id:
        document["id"] = response.id
    if parameters := parameters_of(response):
        document["parameters"] = parameters
    return json.dumps(document | {"outputs": described}, ensure_ascii=False)


def parameters_of(response: ModelInferResponse) -> dict[str, Any]:
    """The parameters of an answer, in the order of their names."""
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in sorted(response.parameters.items())
    }


def as_npz(outputs: Sequence[Output]) -> bytes:
    """An .npz file with an array for each output; texts as numpy's own strings, BF16 as float32."""
    content = io.BytesIO()
    # np.savez has no room for an output called `file`
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for output in outputs:
            array = _shown(output)
            with file.open(f"{output.name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(
                    member,
                    array.astype(np.str_) if output.datatype == BYTES else array,
                    allow_pickle=False,
                )
    return content.getvalue()


def _shown(output: Output) -> Array:
    return output.array.astype(np.float32) if output.datatype == BF16 else output.array


def _row_text(output: Output, row: int) -> str:
    values = output.array[row]
    if not output.labels:
        return _cell(values)
    order = list(range(len(values)))
    if len(values) > _MOST_CLASSES:
        order.sort(key=lambda i: -float(values[i]))
        del order[_MOST_CLASSES - 1 :]
    texts = [f"{output.labels[i]} {_number(values[i], 4)}" for i in order]
    rest = len(values) - len(texts)
    return ", ".join([*texts, f"and {rest} more"] if rest else texts)


def _cell(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return _number(value)
    texts = [_number(element, 4) for element in value.ravel()[:_MOST_IN_A_CELL]]
    rest = value.size - len(texts)
    return f"{' '.join(texts)}{f' ... ({value.size})' if rest > 0 else ''}"


def _number(value: Any, digits: int = 6) -> str:
    return (
        f"{float(value):.{digits}g}"
        if isinstance(value, float | np.floating) or type(value).__name__ == "bfloat16"
        else str(value)
    )
