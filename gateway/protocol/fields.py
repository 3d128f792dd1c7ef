"""The little of protobuf's wire format that is read and written by hand.

It runs in a serving process, so that large tensors are copied once or not at all.
"""

from __future__ import annotations

import contextlib
from typing import Final

_BYTES_FIELD: Final = 2  # wire type: length-delimited
_SIZES: Final = {1: 8, 5: 4}  # wire types of fixed size
_MANY_FIELDS: Final = 4096  # a message of more is not worth walking in Python


class Malformed(ValueError):
    """The bytes are no protobuf message."""


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base 128."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def bytes_tag(field: int, length: int) -> bytes:
    """What stands before `length` bytes of a length-delimited field."""
    return varint(field << 3 | _BYTES_FIELD) + varint(length)


def split_field(message: bytes, field: int) -> tuple[bytes, list[tuple[int, int]]] | None:
    """The message without one repeated bytes field, and the (offset, length) of its values.

    None where the message has too many fields to be walked. Raises `Malformed` where it breaks off
    or uses an unknown wire type.
    """
    rest: list[bytes] = []
    spans: list[tuple[int, int]] = []
    at = 0
    kept = 0
    end = len(message)
    for _ in range(_MANY_FIELDS):
        if at >= end:
            return b"".join((*rest, message[kept:end])), spans
        start = at
        key, at = _read_varint(message, at)
        if (kind := key & 7) == _BYTES_FIELD:
            length, at = _read_varint(message, at)
            if key >> 3 == field:
                spans.append((at, length))
                rest.append(message[kept:start])
                kept = at + length
            at += length
        elif kind == 0:
            _, at = _read_varint(message, at)
        else:
            at += _SIZES.get(kind, end + 1)
        if at > end:
            raise _too_long(key)
    return None


def leading_texts(message: bytes, last: int) -> dict[int, str]:
    """The texts that a message begins with, by field number, none of a number above `last`.

    It may break off: what follows the first field that is no text, or not all there, is left alone.
    """
    found: dict[int, str] = {}
    at = 0
    with contextlib.suppress(Malformed, UnicodeDecodeError):
        while at < len(message):
            key, at = _read_varint(message, at)
            length, at = _read_varint(message, at)
            if key & 7 != _BYTES_FIELD or key >> 3 > last or at + length > len(message):
                break
            found[key >> 3] = message[at : at + length].decode()
            at += length
    return found


def _too_long(key: int) -> Malformed:
    return Malformed(f"field {key >> 3} of wire type {key & 7} reaches past the end of the message")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    shift = 0
    try:
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004  # the continuation bit
                return value, at
            shift += 7
            if shift > 63:  # noqa: PLR2004  # ten bytes at most
                raise Malformed("a varint is longer than ten bytes")
    except IndexError:
        raise Malformed("the message breaks off inside a varint") from None
