"""Names of an output's classes and of an input's columns, planned in the control process.

What lies beside the model comes first, then what its file brings along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from gateway.control.models.configuration.tensor_configuration import TensorConfiguration
from gateway.control.models.sources.sidecars import COLUMNS, LABELS
from gateway.core.plan import TensorSpec

Names = tuple[str, ...]

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_MATRIX = 2


def with_labels(
    outputs: Sequence[TensorSpec],
    configured: Sequence[TensorConfiguration],
    labels: Mapping[str, Names],
    written: Mapping[str, Names],
) -> tuple[tuple[TensorSpec, ...], dict[str, str], tuple[str, ...]]:
    """The outputs with their class names, the label file by output, and warnings.

    `labels` are the lines of label files, by the file's name, `written` those in the model file, by
    output: they hold for outputs that have no label file.
    """
    files, warnings = _label_files(outputs, configured, labels)
    labelled = tuple(
        replace(
            spec,
            labels=labels.get(files[spec.name], ())
            if spec.name in files
            else written.get(spec.name, ()),
        )
        for spec in outputs
    )
    warnings += [
        f"output '{spec.name}' has {spec.shape[-1]} columns, but {files[spec.name]} "
        f"has {len(spec.labels)} lines"
        for spec in labelled
        if spec.name in files and spec.shape and spec.shape[-1] not in (-1, len(spec.labels))
    ]
    return labelled, files, tuple(warnings)


def _label_files(
    outputs: Sequence[TensorSpec],
    configured: Sequence[TensorConfiguration],
    labels: Mapping[str, Names],
) -> tuple[dict[str, str], list[str]]:
    """The label file by the output's name, and warnings.

    A labels.txt that no output names belongs to the only two-dimensional float output with as many
    columns as it has lines.
    """
    files = {tensor.name: tensor.labels for tensor in configured if tensor.labels}
    if files or LABELS not in labels:
        return files, []
    count = len(labels[LABELS])
    fitting = _fitting(outputs, count)
    if len(fitting) == 1:
        return {fitting[0]: LABELS}, []
    warning = f"{LABELS} has {count} lines and fits {len(fitting)} outputs"
    return {}, [f"{warning}; say which one it is for under `outputs`"]


def noted_labels(outputs: Sequence[TensorSpec], names: Names) -> dict[str, Names]:
    """The names for the only two-dimensional float output with as many columns."""
    fitting = _fitting(outputs, len(names))
    return {fitting[0]: names} if names and len(fitting) == 1 else {}


def _fitting(outputs: Sequence[TensorSpec], columns: int) -> list[str]:
    return [
        spec.name
        for spec in outputs
        if spec.datatype in _FLOATS and len(spec.shape) == _MATRIX and spec.shape[1] == columns
    ]


def with_columns(
    inputs: Sequence[TensorSpec], columns: Names, written: Mapping[str, Names]
) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    """The inputs with the names of their columns, and warnings.

    `columns` are the lines of columns.txt, `written` the names in the model file, by input.
    """
    if len(set(columns)) != len(columns):
        return tuple(inputs), (f"{COLUMNS} names a column twice, so it is not used",)
    written = {name: names for name, names in written.items() if len(set(names)) == len(names)}
    fitting = [spec.name for spec in inputs if spec.shape[1:] == (len(columns),)]
    if not columns or len(fitting) != 1:
        named = tuple(replace(spec, columns=written.get(spec.name, ())) for spec in inputs)
        return named, _misfit(columns, len(fitting))
    named = tuple(
        replace(spec, columns=columns if spec.name == fitting[0] else ()) for spec in inputs
    )
    return named, ()


def _misfit(columns: Names, fitting: int) -> tuple[str, ...]:
    warning = (
        f"{COLUMNS} has {len(columns)} lines and fits {fitting} inputs: it should have a line for "
        "each column of one"
    )
    return (warning,) if columns else ()
