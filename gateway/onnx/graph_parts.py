"""Operators, words and constants of an ONNX file, read off the protobuf wire.

The inspection process does so. The file is not parsed, and what is large is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.onnx.protobuf import LEAVES, Inside, Reader, messages

# Message -> field -> message of the fields that say what a graph is made of.
_NAMES: Inside = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node"},
    "function": {7: "node"},
    "node": {4: "operator", 5: "attribute"},
    "attribute": {1: "name", 5: "tensor", 6: "graph", 9: "word", 11: "graph"},
    "tensor": {6: "word"},
}
# Message -> field -> message of the fields that hold constants.
_CONSTANTS: Inside = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "constant"},
    "node": {5: "attribute"},
    "attribute": {5: "constant"},
}

_MOST_NAME_BYTES = 256
_MOST_WORDS = 10_000
_MOST_CONSTANT_BYTES = 1 << 14
_MOST_CONSTANTS = 1000


def names_in_graph(descriptor: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Operators, attributes' names and their strings, in file order, subgraphs and functions too.

    Each is a pair of `operator`, `name` or `word` and the bytes; long ones are left out, and words
    behind the first ten thousand: a vocabulary has millions. Raises `OnnxFileFault`.
    """
    reader = Reader(descriptor, size)
    words = 0
    for kind, start, stop in messages(reader, size, _NAMES):
        words += kind == "word"
        wanted = kind in LEAVES and (kind != "word" or words <= _MOST_WORDS)
        if wanted and stop - start <= _MOST_NAME_BYTES:
            yield kind, reader.read(start, stop)


def constants_in_graph(descriptor: int, size: int) -> Iterator[bytes]:
    """The small tensors of the main graph, up to a thousand, each a serialised TensorProto."""
    reader = Reader(descriptor, size)
    count = 0
    for kind, start, stop in messages(reader, size, _CONSTANTS):
        if kind == "constant" and stop - start <= _MOST_CONSTANT_BYTES:
            yield reader.read(start, stop)
            count += 1
            if count == _MOST_CONSTANTS:
                return
