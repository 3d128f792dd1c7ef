"""Protobuf messages of fixed length with columns in them, for the telemetry process.

Thousands are written with one numpy assignment a column. A column has room for any of its values:
numbers stand as varints of a fixed length (a varint may have empty bytes at its end), times and ids
are of one length anyhow.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]

_VARINT = 0
_FIXED64 = 1
_BYTES = 2
_FIXED32 = 5
LENGTH_BYTES: Final = 3
"""Bytes of a length that is a column: enough for a message of 2 MiB."""

# Fields of opentelemetry.proto.common.v1.AnyValue.
_STRING = 1
_BOOL = 2
_INT = 3
_DOUBLE = 4


def varint(value: int) -> bytes:
    """A number that is not negative, as a varint."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, a string or a message."""
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """A field of a number or an enum."""
    return varint(number << 3 | _VARINT) + varint(value)


def fixed32_field(number: int, value: int) -> bytes:
    """A field of four bytes."""
    return varint(number << 3 | _FIXED32) + struct.pack("<I", value)


def fixed64_field(number: int, value: int) -> bytes:
    """A field of eight bytes."""
    return varint(number << 3 | _FIXED64) + struct.pack("<Q", value)


def attribute(key: str, value: str | int | bool) -> bytes:
    """A KeyValue, as a message."""
    if isinstance(value, bool):
        any_value = number_field(_BOOL, int(value))
    elif isinstance(value, int):
        any_value = number_field(_INT, value & 0xFFFFFFFFFFFFFFFF)
    else:
        any_value = field(_STRING, value.encode("utf-8", "replace"))
    return field(1, key.encode()) + field(2, any_value)


class Layout:
    """A message that grows at its end: bytes that are the same in all, and columns."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.columns: dict[str, tuple[str | tuple[str, int], int]] = {}
        """Name to numpy format and offset."""

    def put(self, data: bytes) -> None:
        """Appends bytes that are the same in all messages."""
        self.data += data

    def put_column(self, name: str, form: str | tuple[str, int], tag: bytes) -> None:
        """Appends a tag, and a column of this numpy format behind it."""
        self.data += tag
        self.columns[name] = form, len(self.data)
        self.data += bytes(np.dtype(form).itemsize)

    def put_bytes(self, number: int, name: str, form: str | tuple[str, int]) -> None:
        """Appends a field of bytes of one length."""
        self.put_column(name, form, varint(number << 3 | _BYTES) + varint(np.dtype(form).itemsize))

    def put_fixed64(self, number: int, name: str, form: str = "<u8") -> None:
        """Appends a field of eight bytes."""
        self.put_column(name, form, varint(number << 3 | _FIXED64))

    def put_message(self, number: int, inner: Layout) -> None:
        """Appends a message that has grown to its end."""
        self.data += varint(number << 3 | _BYTES) + varint(len(inner.data))
        self._join(inner)

    def put_open_message(self, number: int, inner: Layout, name: str) -> None:
        """Appends a message with a column for its length: more may be put behind it."""
        self.put_column(name, ("u1", LENGTH_BYTES), varint(number << 3 | _BYTES))
        at = len(self.data) - LENGTH_BYTES
        self.data[at:] = lengths(np.array([len(inner.data)])).tobytes()
        self._join(inner)

    def _join(self, inner: Layout) -> None:
        for name, (form, offset) in inner.columns.items():
            self.columns[name] = form, offset + len(self.data)
        self.data += inner.data

    def put_attribute(self, key: str, name: str, form: str | tuple[str, int]) -> None:
        """Appends a KeyValue with a column for its value.

        `<u4` and `<u8` are numbers (see `varints4`), `<f8` floats, all else strings.
        """
        value = Layout()
        pair = Layout()
        if form in {"<u4", "<u8"}:
            value.put_column(name, form, varint(_INT << 3 | _VARINT))
        elif form == "<f8":
            value.put_fixed64(_DOUBLE, name, form)
        else:
            value.put_bytes(_STRING, name, form)
        pair.put(field(1, key.encode()))
        pair.put_message(2, value)
        self.put_message(_ATTRIBUTES, pair)

    def put_constant(self, key: str, value: str | int | bool) -> None:
        """Appends a KeyValue that is the same in all messages."""
        self.put(field(_ATTRIBUTES, attribute(key, value)))


_ATTRIBUTES: Final = 9  # of a Span


class Template:
    """A layout from which rows of messages are made."""

    def __init__(self, layout: Layout) -> None:
        names = list(layout.columns)
        formats = [layout.columns[name][0] for name in names]
        offsets = [layout.columns[name][1] for name in names]
        self._data = bytes(layout.data)
        self.names = frozenset(names)
        self.row_bytes = len(self._data)
        self._dtype = np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.row_bytes}
        )
        self._offsets = dict(zip(names, offsets, strict=True))

    def rows(self, count: int) -> Array:
        """An array of so many messages, whose columns are still to be written."""
        return np.frombuffer(bytearray(self._data) * count, self._dtype)

    def offset(self, column: str) -> int:
        """Where in a row a column begins."""
        return self._offsets[column]


def varints4(values: Array) -> Array:
    """Varints of four bytes, as `<u4`; what does not fit in 28 bits is the largest that does."""
    x = np.minimum(values, 0xFFFFFFF).astype(np.uint32)
    spread = x & 0x7F | (x & 0x3F80) << 1 | (x & 0x1FC000) << 2 | (x & 0xFE00000) << 3
    return np.asarray(spread | np.uint32(0x00808080))


def varints8(values: Array) -> Array:
    """Varints of eight bytes, as `<u8`; what does not fit in 56 bits is the largest that does."""
    x = np.minimum(values, (1 << 56) - 1).astype(np.uint64)
    spread = np.full(len(x), 0x0080808080808080, np.uint64)
    for place in range(8):
        spread |= (x & np.uint64(0x7F << 7 * place)) << np.uint64(place)
    return spread


def lengths(values: Array) -> Array:
    """Varints of `LENGTH_BYTES` bytes, as (n, 3)."""
    out = np.empty((len(values), LENGTH_BYTES), np.uint8)
    out[:, 0] = values & 0x7F | 0x80
    out[:, 1] = values >> 7 & 0x7F | 0x80
    out[:, 2] = values >> 14 & 0x7F
    return out


_DIGITS: Final = np.array([int.from_bytes(b"%02x" % byte, "little") for byte in range(256)], "<u2")


def hexadecimal(ids: Array) -> Array:
    """Ids (voids) as lower-case digits: voids of twice their length."""
    size = ids.dtype.itemsize
    return _DIGITS[np.ascontiguousarray(ids).view(np.uint8)].view(f"V{2 * size}")
