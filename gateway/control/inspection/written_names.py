"""Names of classes and columns that a model file brings along, read in the inspection process.

There are three places, in this order: ZipMap's classes, the file's metadata, and the classes of its
classifiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.config.name_lists import names_in
from gateway.core.plan import GraphTensor
from gateway.onnx.graph_facts import GraphFacts
from gateway.onnx.session import Session

Names = tuple[str, ...]

_CLASS_KEYS: Final = ("labels", "class_names", "classes", "id2label", "names")
_COLUMN_KEYS: Final = ("columns", "feature_names", "features")
_FLOATS: Final = ("tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)")
_MATRIX: Final = 2


def written_labels(session: Session, facts: GraphFacts) -> dict[str, Names]:
    """Class names by the output whose columns they are.

    Classes that are no more than the columns' numbers are left out.
    """
    of_zipmap = {name: classes for name, classes in session.classes.items() if classes}
    if of_zipmap:
        found = of_zipmap
    else:
        noted = _noted(session.metadata, _CLASS_KEYS)
        found = _fitting(session.outputs, noted) or _fitting(session.outputs, facts.classes)
    return {name: classes for name, classes in found.items() if not _only_numbers(classes)}


def written_columns(session: Session) -> dict[str, Names]:
    """Names of columns by the input whose columns they are."""
    return _fitting(session.inputs, _noted(session.metadata, _COLUMN_KEYS))


def _fitting(tensors: Sequence[GraphTensor], names: Names) -> dict[str, Names]:
    """The names for the only table of floats that has as many columns."""
    fitting = [
        tensor.name
        for tensor in tensors
        if tensor.onnx_type in _FLOATS
        and len(tensor.shape) == _MATRIX
        and tensor.shape[1] == len(names)
    ]
    return {fitting[0]: names} if names and len(fitting) == 1 else {}


def _noted(metadata: Mapping[str, str], keys: Sequence[str]) -> Names:
    for key in keys:
        text = metadata.get(key, "")
        if names := names_in(text):
            return names
    return ()


def _only_numbers(classes: Names) -> bool:
    return classes == tuple(map(str, range(len(classes))))
