"""Columns of text, of which the telemetry process makes lines: arrays of bytes, a row a value.

A value shorter than the longest ends with zeros, which lines made of them lose. So thousands of
lines, each with the fields that it happens to have, are made by a few dozen numpy calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Text = np.ndarray[Any, np.dtype[np.uint8]]
Array = np.ndarray[Any, Any]

MOST_INTEGER: Final = 10**9 - 1
"""What `integers` can write, and milliseconds before the point."""


def _table(texts: Iterable[str]) -> Text:
    made = np.array([text.encode() for text in texts])
    return made.view(np.uint8).reshape(len(made), -1)


_PADDED: Final = _table(f"{n:03d}" for n in range(1000))
# from 1000 on: digits stand before it
_BEGINNING: Final = _table([*(str(n) for n in range(1000)), *(f"{n:03d}" for n in range(1000))])
_INSIDE: Final = _table(["", *(str(n) for n in range(1, 1000)), *(f"{n:03d}" for n in range(1000))])
_HEX: Final = _table(f"{n:02x}" for n in range(256))


def integers(values: Array) -> Text:
    """Whole numbers from 0 to MOST_INTEGER."""
    high = values // 1_000_000
    middle = values // 1000 % 1000
    low = values % 1000
    before = 1000 * (high > 0)
    return np.concatenate(
        (_INSIDE[high], _INSIDE[middle + before], _BEGINNING[low + 1000 * (values >= 1000)]),  # noqa: PLR2004
        axis=1,
    )


def milliseconds(micros: Array) -> Text:
    """Microseconds as milliseconds with three places."""
    point = np.full((len(micros), 1), ord("."), np.uint8)
    return np.concatenate((integers(micros // 1000), point, _PADDED[micros % 1000]), axis=1)


def hexadecimal(ids: Text) -> Text:
    """Ids, (n, bytes), as (n, digits)."""
    return _HEX[ids].reshape(len(ids), -1)


def chosen(texts: Sequence[str], which: Array) -> Text:
    """Each row is one of the texts."""
    return _table(texts)[which] if texts else np.zeros((len(which), 1), np.uint8)


def fraction(micros: Array, places: int) -> Text:
    """The parts of a second, three or six places."""
    thousands = _PADDED[micros // 1000 % 1000]
    return thousands if places == 3 else np.concatenate((thousands, _PADDED[micros % 1000]), axis=1)  # noqa: PLR2004


def seconds(micros: Array, form: str, split: Callable[[float], time.struct_time]) -> Text:
    """Times of the Unix epoch, to the second, in a form of strftime.

    `split`: time.gmtime or time.localtime.
    """
    found, which = np.unique(micros // 1_000_000, return_inverse=True)
    return chosen([time.strftime(form, split(second)) for second in found.tolist()], which)


@dataclass(frozen=True)
class Part:
    """A column of a line, and what stands around its values.

    `present`: the rows that have it; None: all.
    """

    before: bytes
    column: Text
    after: bytes = b""
    present: Array | None = None


def joined(parts: Sequence[Part], rows: int) -> bytes:
    """The lines, without any ends but those that parts bring along."""
    parts = [part for part in parts if part.present is None or part.present.any()]
    out = np.zeros(
        (rows, sum(len(part.before) + part.column.shape[1] + len(part.after) for part in parts)),
        np.uint8,
    )
    end = 0
    for part in parts:
        begin = end
        for value in (
            np.frombuffer(part.before, np.uint8),
            part.column,
            np.frombuffer(part.after, np.uint8),
        ):
            start = end
            end = end + value.shape[-1]
            out[:, start:end] = value
        if part.present is not None and not part.present.all():
            out[~part.present, begin:end] = 0
    return out.tobytes().translate(None, b"\0")
