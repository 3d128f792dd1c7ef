"""What the folder of one model holds, and how it is written.

The same model always gives the same bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

Rows = Mapping[str, NDArray[Any]]  # one array per input name; the first axis counts rows

REFERENCE_ROWS = 32
SAMPLE_ROWS = 12


@dataclass(frozen=True)
class Version:
    """One trained graph and, in a few words, what kind of model it is."""

    kind: str
    graph: onnx.ModelProto


@dataclass(frozen=True)
class Model:
    """A trained model with the rows it is shown and judged by.

    `labels` names the columns of the output `probabilities`; `answers` are indices into it, one for
    each held-out row. `trained_on` and `held_out` are in random order, so that their first rows are
    a fair sample.
    """

    name: str
    data: str
    versions: Mapping[int, Version]
    labels: tuple[str, ...]
    trained_on: Rows
    held_out: Rows
    answers: NDArray[np.int64]


def assemble(text: str, **weights: NDArray[Any]) -> onnx.ModelProto:
    """Parses a graph from ONNX's textual form and gives it its weights by name.

    Weights of floats become FP32.
    """
    graph = parser.parse_model(text)
    for name, array in weights.items():
        stored = array.astype(np.float32) if array.dtype.kind == "f" else array
        graph.graph.initializer.append(numpy_helper.from_array(stored, name))
    onnx.checker.check_model(graph, full_check=True)
    return graph


def take(rows: Rows, chosen: slice | NDArray[np.int64]) -> Rows:
    """The chosen rows of every input."""
    return {name: array[chosen] for name, array in rows.items()}


def answer(graph: bytes, rows: Rows) -> dict[str, NDArray[Any]]:
    """Every output of the graph for these rows, by name."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    fed = {
        name: array.astype(object) if array.dtype.kind == "U" else array
        for name, array in rows.items()
    }
    return dict(
        zip([output.name for output in session.get_outputs()], session.run(None, fed), strict=True)
    )


def accuracy(model: Model, version: int) -> float:
    """The share of the held-out rows that ONNX Runtime answers rightly with this version."""
    probabilities = answer(model.versions[version].graph.SerializeToString(), model.held_out)[
        "probabilities"
    ]
    return float(np.mean(probabilities.argmax(axis=1) == model.answers))


def write(model: Model, root: Path, trained_with: str) -> list[Path]:
    """Writes the model's folder under `root` and returns the files it holds."""
    folder = root / model.name
    folder.mkdir(parents=True, exist_ok=True)
    files = [_write_version(model, version, folder, trained_with) for version in model.versions]
    files.append(_write_text(folder / "labels.txt", model.labels))
    # Stored without compression, and with zip's fixed date: another zlib gives other bytes.
    np.savez(folder / "reference.npz", **take(model.trained_on, slice(REFERENCE_ROWS)))  # type: ignore[arg-type]
    files.append(folder / "reference.npz")
    return files + _write_samples(model, folder)


def _write_version(model: Model, version: int, folder: Path, trained_with: str) -> Path:
    described = onnx.ModelProto()
    described.CopyFrom(model.versions[version].graph)
    facts = {
        "kind": model.versions[version].kind,
        "data": model.data,
        "trained_with": trained_with,
        "held_out_accuracy": f"{accuracy(model, version):.4f}",
        "held_out_rows": str(len(model.answers)),
    }
    helper.set_model_props(described, facts)
    path = folder / str(version) / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(described.SerializeToString(deterministic=True))
    return path


def _write_samples(model: Model, folder: Path) -> list[Path]:
    rows = take(model.held_out, slice(SAMPLE_ROWS))
    labels = [model.labels[index] for index in model.answers[:SAMPLE_ROWS]]
    columns = {name: [_plain(row) for row in array] for name, array in rows.items()}
    inputs = ",\n".join(
        f"    {json.dumps(name)}: {_one_row_a_line(column)}" for name, column in columns.items()
    )
    files = [
        _write_text(
            folder / "samples.json",
            ["{", '  "inputs": {', inputs, "  },", f'  "labels": {json.dumps(labels)}', "}"],
        )
    ]
    if all(array.ndim == 1 for array in rows.values()):
        files.append(folder / "samples.csv")
        with files[-1].open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow([*columns, "label"])
            table.writerows(zip(*columns.values(), labels, strict=True))
    return files


def _one_row_a_line(column: list[Any]) -> str:
    if not isinstance(column[0], list):
        return json.dumps(column)
    return "[\n" + ",\n".join(f"      {json.dumps(row)}" for row in column) + "\n    ]"


def _plain(value: Any) -> Any:
    """A value as a person would write it.

    It gives 5, not 5.0, and 39.1, not the nearest FP32 in 17 digits.
    """
    if np.ndim(value):
        return [_plain(element) for element in value]
    if not isinstance(value, np.floating):
        return value.item()
    shortest = float(str(value))
    return int(shortest) if shortest.is_integer() else shortest


def _write_text(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return path
