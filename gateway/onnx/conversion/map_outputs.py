"""Cuts ZipMap out of a graph, on the command line: what went into it becomes the output.

A map for each row cannot be served. The classes, where they have names, go into the metadata under
`labels`.
"""

from __future__ import annotations

import json
from typing import Any

from onnx import helper

_ZIPMAP = "ZipMap"
_DOMAIN = "ai.onnx.ml"


def cut_zipmaps(model: Any) -> list[str]:
    """Replaces each by its input, under the output's name; says what was done."""
    graph = model.graph
    done = []
    of_ml = [node for node in graph.node if (node.domain, node.op_type) == (_DOMAIN, _ZIPMAP)]
    for node in of_ml:
        classes = _classes(node)
        graph.node.remove(node)
        graph.node.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        for output in graph.output:
            if output.name == node.output[0]:
                output.ClearField("type")
                shape = output.type.tensor_type.shape
                shape.dim.add()  # without a name: another axis might have it
                shape.dim.add().dim_value = len(classes)
        if any(isinstance(name, str) for name in classes):
            _note_labels(model, classes)
        done.append(f"ZipMap is cut: '{node.output[0]}' is a tensor of {len(classes)} columns")
    return done


def _classes(node: Any) -> list[Any]:
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.strings:
            return [name.decode("utf-8", "replace") for name in attribute.strings]
        if attribute.name == "classlabels_int64s" and attribute.ints:
            return list(attribute.ints)
    return []


def _note_labels(model: Any, classes: list[Any]) -> None:
    if not any(entry.key == "labels" for entry in model.metadata_props):
        model.metadata_props.add(key="labels", value=json.dumps(classes, ensure_ascii=False))
