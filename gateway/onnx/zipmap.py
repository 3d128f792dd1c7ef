"""ZipMap cut off a graph as a model is opened, in a serving, worker or inspection process.

Converters of classifiers end the graph with ZipMap (ai.onnx.ml) unless they are told otherwise. It
makes a list of dictionaries, class to probability, of the tensor of probabilities; the protocol
carries the tensor. The file is not parsed: ZipMap becomes Identity on the protobuf wire, by the
numbers of onnx.proto, and the declared type of its output goes, which ONNX Runtime then infers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.protobuf import read_varint
from gateway.protocol.fields import bytes_tag, varint

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
_ATTRIBUTE_NAME: Final = 1
_ATTRIBUTE_INTS: Final = 8
_ATTRIBUTE_STRINGS: Final = 9
_VALUE_NAME: Final = 1
_OPSET_DOMAIN: Final = 1
_OPSET_VERSION: Final = 2

_BYTES: Final = 2  # wire type
_SIZES: Final = {1: 8, 5: 4}
_OPSET: Final = 13  # of the default domain, where a graph had no operator of it
_DEFAULT_DOMAINS: Final = (b"", b"ai.onnx")


Bytes = bytes | memoryview


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
    parts = list(_fields(memoryview(content)))
    classes: dict[str, tuple[str, ...]] = {}
    for part in parts:
        if part.number == _MODEL_GRAPH:
            classes |= _zipmaps(part.value)
    if not classes:
        return CutModel(content, {})
    whole = [
        _field(part.number, _cut_graph(part.value, classes))
        if part.number == _MODEL_GRAPH
        else part.whole
        for part in parts
    ]
    if not any(_is_default_opset(part) for part in parts):
        whole.append(_field(_MODEL_OPSET, varint(_OPSET_VERSION << 3) + varint(_OPSET)))
    return CutModel(b"".join(whole), classes)


class _Field(NamedTuple):
    number: int
    whole: Bytes
    """The field with its tag."""
    value: Bytes
    """The content of a length-delimited field, or the varint as it stands there."""


def _fields(message: Bytes) -> Iterator[_Field]:
    """The fields of a message in order; raises `OnnxFileFault` where it breaks off."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = read_varint(message, at)
        start = at
        if tag & 7 == _BYTES:
            length, start = read_varint(message, at)
            at = start + length
        elif tag & 7 == 0:
            _, at = read_varint(message, at)
        elif tag & 7 in _SIZES:
            at += _SIZES[tag & 7]
        else:
            raise OnnxFileFault(f"is not an ONNX model, or corrupt: wire type {tag & 7}")
        if at > len(message):
            raise OnnxFileFault("is truncated or corrupt: a field goes on behind its message")
        yield _Field(tag >> 3, message[begin:at], message[start:at])


def _zipmaps(graph: Bytes) -> dict[str, tuple[str, ...]]:
    """The classes of the graph's ZipMaps by the name of the output."""
    outputs = {_first(part.value, _VALUE_NAME) for part in _of(graph, _GRAPH_OUTPUT)}
    found = {}
    for node in _of(graph, _GRAPH_NODE):
        if _first(node.value, _NODE_OPERATOR) == ZIPMAP.encode():
            name = _first(node.value, _NODE_OUTPUT)
            if name in outputs:
                found[name.decode("utf-8", "replace")] = _classes(node.value)
    return found


def _classes(node: Bytes) -> tuple[str, ...]:
    classes: list[str] = []
    for attribute in _of(node, _NODE_ATTRIBUTE):
        if _first(attribute.value, _ATTRIBUTE_NAME) == b"classlabels_strings":
            texts = _of(attribute.value, _ATTRIBUTE_STRINGS)
            classes += [bytes(part.value).decode("utf-8", "replace") for part in texts]
        else:
            classes += map(str, _integers(attribute.value))
    return tuple(classes)


def _integers(attribute: Bytes) -> Iterator[int]:
    """The `ints` of an attribute, which may be packed or a field each."""
    for part in _of(attribute, _ATTRIBUTE_INTS):
        at = 0
        while at < len(part.value):
            number, at = read_varint(part.value, at)
            yield number - (1 << 64) if number >> 63 else number


def _cut_graph(graph: Bytes, classes: dict[str, tuple[str, ...]]) -> bytes:
    parts: list[Bytes] = []
    for part in _fields(graph):
        if part.number == _GRAPH_NODE and _is_cut(part.value, classes):
            parts.append(_field(_GRAPH_NODE, _identity(part.value)))
        elif part.number == _GRAPH_OUTPUT and _named(part.value, _VALUE_NAME, classes):
            name = _first(part.value, _VALUE_NAME)
            parts.append(_field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name)))
        else:
            parts.append(part.whole)
    return b"".join(parts)


def _is_cut(node: Bytes, classes: dict[str, tuple[str, ...]]) -> bool:
    is_zipmap = _first(node, _NODE_OPERATOR) == ZIPMAP.encode()
    return is_zipmap and _named(node, _NODE_OUTPUT, classes)


def _named(message: Bytes, field: int, names: dict[str, tuple[str, ...]]) -> bool:
    return _first(message, field).decode("utf-8", "replace") in names


def _identity(node: Bytes) -> bytes:
    kept = [
        part.whole
        for part in _fields(node)
        if part.number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME)
    ]
    return b"".join((*kept, _field(_NODE_OPERATOR, b"Identity")))


def _is_default_opset(part: _Field) -> bool:
    return part.number == _MODEL_OPSET and _first(part.value, _OPSET_DOMAIN) in _DEFAULT_DOMAINS


def _of(message: Bytes, number: int) -> Iterator[_Field]:
    return (part for part in _fields(message) if part.number == number)


def _first(message: Bytes, number: int) -> bytes:
    return next((bytes(part.value) for part in _of(message, number)), b"")


def _field(number: int, value: Bytes) -> bytes:
    return b"".join((bytes_tag(number, len(value)), value))
