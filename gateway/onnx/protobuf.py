"""External data files that an ONNX file names, read off the protobuf wire by the control process.

The file is not parsed and no tensor is read. `gateway.onnx.graph_parts` reads more in this way.

ONNX Runtime follows these names when it opens a model, so they are looked at first. All that
protobuf would see is seen here: messages are entered wherever they may hold a tensor, any number of
times (protobuf merges repeated ones). For the same reason a tensor's `data_location` is not asked:
it may stand in another part of the message than the name does.

The file is read by `pread`, not mapped: a mapped file that somebody cuts short takes the process
with it (SIGBUS).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from gateway.onnx.model_faults import OnnxFileFault

Inside = Mapping[str, Mapping[int, str]]

# Message -> field -> message of the fields that lead to a
# TensorProto, by the numbers of onnx.proto.
_INSIDE: Inside = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
LEAVES = frozenset({"entry", "operator", "name", "word", "constant"})
# Numbers in attributes are written one field each; tree ensembles have millions of them,
# which are passed over in one step.
_NUMBERS = re.compile(rb"(?:\x3d[\x00-\xff]{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f])++")

# wire types
_VARINT = 0
_BYTES = 2
_FIXED_BYTES = {1: 8, 5: 4}
_CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 24  # a tag and a length are two varints of at most ten bytes each
_MOST_DEPTH = 100  # protobuf's own limit
_MOST_FIELDS = 20_000_000  # some ten seconds
_MOST_ENTRY_BYTES = 1 << 14  # a key and a path


def external_locations(descriptor: int, size: int) -> tuple[str, ...]:
    """Every distinct `location` of external data in the ONNX file of `size` bytes, in file order.

    Raises `OnnxFileFault`.
    """
    reader = Reader(descriptor, size)
    locations: dict[str, None] = {}
    graphs = 0
    for kind, start, stop in messages(reader, size, _INSIDE):
        if kind == "entry":
            locations.update(dict.fromkeys(_location(reader.read(start, stop))))
        graphs += kind == "graph"
    if not graphs:
        raise OnnxFileFault("is not an ONNX model: it has no graph")
    return tuple(locations)


def messages(reader: Reader, size: int, inside: Inside) -> Iterator[tuple[str, int, int]]:
    """The messages that `inside` leads to, each with its start and stop, in file order.

    Invariant: `position` lies in the innermost open message, or is its end.
    """
    open_messages = [("model", size)]
    position = 0
    fields = 0
    while open_messages:
        kind, end = open_messages[-1]
        if kind == "attribute":
            position = reader.skip_numbers(position, end)
        if position == end:
            open_messages.pop()
            continue
        fields += 1
        if fields > _MOST_FIELDS:
            raise OnnxFileFault(f"has more than {_MOST_FIELDS} fields")
        number, wire_type, start, stop = reader.field(position, end)
        inner = inside[kind].get(number) if wire_type == _BYTES else None
        position = stop
        if inner is None:
            continue
        yield inner, start, stop
        if inner not in LEAVES:
            if len(open_messages) >= _MOST_DEPTH:
                raise OnnxFileFault(f"nests messages more than {_MOST_DEPTH} deep")
            open_messages.append((inner, stop))
            position = start


class Reader:
    """The file's bytes, a chunk at a time."""

    __slots__ = ("_base", "_chunk", "_descriptor", "_size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self._base = 0
        self._chunk = b""

    def field(self, position: int, end: int) -> tuple[int, int, int, int]:
        """Number and wire type of the field at the position, and where its value starts and stops.

        `end` is that of the message around it. Raises `OnnxFileFault`.
        """
        chunk, offset = self._at(position)
        tag, offset = read_varint(chunk, offset, self._base)
        number = tag >> 3
        wire_type = tag & 7
        if number == 0 or tag >= 1 << 32:
            raise OnnxFileFault(
                f"is not an ONNX model, or corrupt: no field can begin at byte {position}"
            )
        length = _FIXED_BYTES.get(wire_type, 0)
        if wire_type == _VARINT:
            _, offset = read_varint(chunk, offset, self._base)
        elif wire_type == _BYTES:
            length, offset = read_varint(chunk, offset, self._base)
        elif not length:
            raise OnnxFileFault(
                f"is not an ONNX model, or corrupt: wire type {wire_type} at byte {position}"
            )
        start = self._base + offset
        if start + length > end:
            raise OnnxFileFault(
                f"is truncated or corrupt: the field at byte {position} goes on to byte "
                f"{start + length}, behind byte {end}"
            )
        return number, wire_type, start, start + length

    def skip_numbers(self, position: int, end: int) -> int:
        """Where the run of an attribute's numbers at the position stops; itself where none is."""
        while position < end:
            chunk, offset = self._at(position)
            match = _NUMBERS.match(chunk, offset, min(len(chunk), end - self._base))
            if match is None:
                break
            position = self._base + match.end()
        return position

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from start to stop; raises `OnnxFileFault` where they are many or missing."""
        if stop - start > _MOST_ENTRY_BYTES:
            raise OnnxFileFault(
                f"has an external_data entry of {stop - start} bytes at byte {start}"
            )
        data = os.pread(self._descriptor, stop - start, start)
        if len(data) < stop - start:
            raise OnnxFileFault("became shorter while it was read")
        return data

    def _at(self, position: int) -> tuple[bytes, int]:
        """A chunk that holds the whole head of a field, and the position's offset in it."""
        offset = position - self._base
        if not 0 <= offset <= len(self._chunk) - _HEAD_BYTES:
            self._chunk = os.pread(
                self._descriptor, min(_CHUNK_BYTES, self._size - position), position
            )
            self._base = position
            offset = 0
        return self._chunk, offset


def read_varint(data: bytes | memoryview, offset: int, base: int = 0) -> tuple[int, int]:
    """The number at the offset, and the offset behind it; `base` is where `data` begins."""
    result = 0
    shift = 0
    for index in range(offset, min(offset + 10, len(data))):
        byte = data[index]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the bit that says that more follows
            return result, index + 1
        shift += 7
    raise OnnxFileFault(f"is truncated or corrupt: no number ends behind byte {base + offset}")


def _location(entry: bytes) -> list[str]:
    """The value of a StringStringEntryProto whose key is `location`, as a list of one or none."""
    value_of = {1: b"", 2: b""}
    offset = 0
    while offset < len(entry):
        tag, offset = read_varint(entry, offset)
        number = tag >> 3
        wire_type = tag & 7
        if wire_type != _BYTES:
            raise OnnxFileFault(f"is corrupt: an external_data entry has wire type {wire_type}")
        length, offset = read_varint(entry, offset)
        if offset + length > len(entry):
            raise OnnxFileFault(
                "is truncated or corrupt: an external_data entry goes on behind its end"
            )
        value_of[number] = entry[offset : offset + length]
        offset += length
    if value_of[1] != b"location":
        return []
    try:
        return [value_of[2].decode("utf-8")]
    except UnicodeDecodeError:
        raise OnnxFileFault(
            f"has an external data location that is not UTF-8: {value_of[2]!r}"
        ) from None
