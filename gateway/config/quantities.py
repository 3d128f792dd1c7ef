"""Durations and sizes as people write them: always with their unit, `500us`, `5s`, `64MiB`.

The command line and the main process read them, and print them in reports and help. A bare number
is refused everywhere, because half of its readers would take it for another unit. `Duration` and
`ByteSize` are the same as types of a field, for `gateway.config.typed_yaml`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Self

_SECONDS = {
    "ns": Decimal("1e-9"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "ms": Decimal("1e-3"),
    "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip
_BYTES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 1 << 10, "MIB": 1 << 20,
    "GIB": 1 << 30, "TIB": 1 << 40,
}  # fmt: skip

_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([a-zA-Zµ]+)", re.ASCII)
_BARE = re.compile(r"[+-]?\d[\d_]*(?:\.\d*)?", re.ASCII)
_MOST_BYTES = (1 << 63) - 1


def parse_duration_s(value: object) -> float:
    """Seconds of a duration such as `500us`, `200ms`, `5s`, `2m`, `1h`; raises ValueError."""
    number, unit = _split(value, "a duration with its unit, such as 500us, 200ms, 5s or 2m")
    if unit not in _SECONDS:
        raise ValueError(
            f"unknown unit {unit!r} in the duration {value!r}: one of ns, us, ms, s, m (minutes), h"
        )
    return float(Decimal(number) * _SECONDS[unit])


def parse_bytes(value: object) -> int:
    """Bytes of a size such as `64MiB` (1024s), `1GB` (1000s) or `512B`; raises ValueError."""
    number, unit = _split(value, "a size with its unit, such as 64MiB, 1GB or 512B")
    if unit.upper() not in _BYTES:
        raise ValueError(
            f"unknown unit {unit!r} in the size {value!r}: one of B, KiB, MiB, GiB, TiB "
            "(1024s), KB, MB, GB, TB (1000s)"
        )
    size = Decimal(number) * _BYTES[unit.upper()]
    if size != size.to_integral_value() or size > _MOST_BYTES:
        raise ValueError(f"the size {value!r} is not a whole number of bytes below 8 EiB")
    return int(size)


def format_duration(seconds: float) -> str:
    """The duration as `parse_duration_s` reads it, in the largest unit that leaves a whole number.

    `500us`, `90s`, `2m`.
    """
    exact = Decimal(repr(float(seconds)))
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count = exact / _SECONDS[unit]
        if count == count.to_integral_value() and (count or unit == "s"):
            return f"{count.to_integral_value():f}{unit}"
    return f"{exact:.18f}".rstrip("0").rstrip(".") + "s"


def format_bytes(size: int) -> str:
    """The size as `parse_bytes` reads it, in the largest unit of 1024s that leaves a whole number.

    `64MiB`, `1000B`.
    """
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit.upper()] == 0:
            return f"{size // _BYTES[unit.upper()]}{unit}"
    return f"{size}B"


class Duration(float):
    """Seconds that came from a text with a unit, and show as one."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The duration that the text says; raises ValueError."""
        return cls(parse_duration_s(value))

    def __repr__(self) -> str:
        return format_duration(self)

    __str__ = __repr__


class ByteSize(int):
    """Bytes that came from a text with a unit, and show as one."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """The size that the text says; raises ValueError."""
        return cls(parse_bytes(value))

    def __repr__(self) -> str:
        return format_bytes(self)

    __str__ = __repr__


def _split(value: object, expected: str) -> tuple[str, str]:
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and (match := _QUANTITY.fullmatch(text)):
        return match[1], match[2]
    bare = isinstance(value, int | float) or (isinstance(text, str) and _BARE.fullmatch(text))
    raise ValueError(f"expected {expected}, got {'the bare number ' if bare else ''}{value!r}")
