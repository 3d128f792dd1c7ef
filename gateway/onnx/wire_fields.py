"""Fields of a protobuf message that is in memory, read and written without knowing its types.

Used in serving, worker and inspection processes. Values are views of the message, not copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.onnx.model_faults import OnnxFileFault
from gateway.onnx.protobuf import read_varint
from gateway.protocol.fields import bytes_tag

Bytes = bytes | memoryview

_BYTES: Final = 2  # wire type
_SIZES: Final = {1: 8, 5: 4}


class Field(NamedTuple):
    """A field as it stands in its message."""

    number: int
    whole: Bytes
    """With its tag."""
    value: Bytes
    """The content of a length-delimited field, or the number as it stands there."""


def fields(message: Bytes) -> Iterator[Field]:
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
        yield Field(tag >> 3, message[begin:at], message[start:at])


def fields_of(message: Bytes, number: int) -> Iterator[Field]:
    """The fields of that number."""
    return (part for part in fields(message) if part.number == number)


def first_value(message: Bytes, number: int) -> bytes:
    """The value of the first field of that number; empty where there is none."""
    return next((bytes(part.value) for part in fields_of(message, number)), b"")


def integers(message: Bytes, number: int) -> Iterator[int]:
    """The whole numbers of a repeated field, which may be packed or a field each."""
    for part in fields_of(message, number):
        at = 0
        while at < len(part.value):
            value, at = read_varint(part.value, at)
            yield value - (1 << 64) if value >> 63 else value


def written(number: int, value: Bytes) -> bytes:
    """A length-delimited field."""
    return b"".join((bytes_tag(number, len(value)), value))
