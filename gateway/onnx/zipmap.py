"""ZipMap cut off a graph as a model is opened, in a serving, worker or inspection process.

Converters of classifiers end the graph with ZipMap (ai.onnx.ml) unless they are told otherwise. It
makes a list of dictionaries, class to probability, of the tensor of probabilities; the protocol
carries the tensor. The file is not parsed: ZipMap becomes Identity on the protobuf wire, by the
numbers of onnx.proto, and the declared type of its output goes, which ONNX Runtime then infers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from gateway.onnx.wire_fields import Bytes, Field, fields, fields_of, first_value, integers, written
from gateway.protocol.fields import varint

ZIPMAP: Final = "ZipMap"

# fields of onnx.proto
_MODEL_GRAPH: Final = 7
_MODEL_OPSET: Final = 8
_GRAPH_NODE: Final = 1
_GRAPH_OUTPUT: Final = 12
_NODE_INPUT: Final = 1
_NODE_OUTPUT: Final = 2
_NODE_NAME: Final = 3
_NODE_OPERATOR: Final = 4
_NODE_ATTRIBUTE: Final = 5
_NODE_DOMAIN: Final = 7
_ATTRIBUTE_NAME: Final = 1
_ATTRIBUTE_INTS: Final = 8
_ATTRIBUTE_STRINGS: Final = 9
_VALUE_NAME: Final = 1
_OPSET_DOMAIN: Final = 1
_OPSET_VERSION: Final = 2

_OPSET: Final = 13  # of the default domain, where a graph had no operator of it
_DOMAIN: Final = b"ai.onnx.ml"
_DEFAULT_DOMAINS: Final = (b"", b"ai.onnx")


class CutModel(NamedTuple):
    """A model file without ZipMap."""

    content: bytes
    classes: dict[str, tuple[str, ...]]
    """The classes by the name of the output whose columns they are; empty: nothing was cut."""


def cut_zipmap(path: str) -> CutModel:
    """The model without the ZipMaps that its outputs come from; raises `OnnxFileFault`, OSError.

    Outputs keep their names. The whole file is read.
    """
    content = Path(path).read_bytes()
    parts = list(fields(memoryview(content)))
    classes: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part.number == _MODEL_GRAPH:
            classes |= _zipmaps(part.value)
    if not classes:
        return CutModel(content, {})
    whole = [
        written(part.number, _cut_graph(part.value, classes))
        if part.number == _MODEL_GRAPH
        else part.whole
        for part in parts
    ]
    if not any(_is_default_opset(part) for part in parts):
        whole.append(written(_MODEL_OPSET, varint(_OPSET_VERSION << 3) + varint(_OPSET)))
    return CutModel(b"".join(whole), classes)


def _zipmaps(graph: Bytes) -> dict[str, tuple[str, ...]]:
    """The classes of the graph's ZipMaps by the name of the output."""
    outputs = {first_value(part.value, _VALUE_NAME) for part in fields_of(graph, _GRAPH_OUTPUT)}
    found = {}
    for node in fields_of(graph, _GRAPH_NODE):
        if _is_zipmap(node.value):
            name = first_value(node.value, _NODE_OUTPUT)
            if name in outputs:
                found[name.decode("utf-8", "replace")] = _classes(node.value)
    return found


def _classes(node: Bytes) -> tuple[str, ...]:
    classes: list[str] = []
    for attribute in fields_of(node, _NODE_ATTRIBUTE):
        name = first_value(attribute.value, _ATTRIBUTE_NAME)
        if name == b"classlabels_strings":
            texts = fields_of(attribute.value, _ATTRIBUTE_STRINGS)
            classes += [bytes(part.value).decode("utf-8", "replace") for part in texts]
        elif name == b"classlabels_int64s":
            classes += map(str, integers(attribute.value, _ATTRIBUTE_INTS))
    return tuple(classes)


def _cut_graph(graph: Bytes, classes: dict[str, tuple[str, ...]]) -> bytes:
    parts: list[Bytes] = []
    for part in fields(graph):
        if part.number == _GRAPH_NODE and _is_cut(part.value, classes):
            parts.append(written(_GRAPH_NODE, _identity(part.value)))
        elif part.number == _GRAPH_OUTPUT and _named(part.value, _VALUE_NAME, classes):
            name = first_value(part.value, _VALUE_NAME)
            parts.append(written(_GRAPH_OUTPUT, written(_VALUE_NAME, name)))
        else:
            parts.append(part.whole)
    return b"".join(parts)


def _is_cut(node: Bytes, classes: dict[str, tuple[str, ...]]) -> bool:
    return _is_zipmap(node) and _named(node, _NODE_OUTPUT, classes)


def _is_zipmap(node: Bytes) -> bool:
    is_called_so = first_value(node, _NODE_OPERATOR) == ZIPMAP.encode()
    return is_called_so and first_value(node, _NODE_DOMAIN) == _DOMAIN


def _named(message: Bytes, field: int, names: dict[str, tuple[str, ...]]) -> bool:
    return first_value(message, field).decode("utf-8", "replace") in names


def _identity(node: Bytes) -> bytes:
    kept = [
        part.whole
        for part in fields(node)
        if part.number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME)
    ]
    return b"".join((*kept, written(_NODE_OPERATOR, b"Identity")))


def _is_default_opset(part: Field) -> bool:
    return (
        part.number == _MODEL_OPSET and first_value(part.value, _OPSET_DOMAIN) in _DEFAULT_DOMAINS
    )
