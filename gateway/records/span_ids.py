"""Ids of traces and spans that were not needed while the request ran.

The telemetry process makes them when it reads; a serving process makes those of a batch that calls
another server. Each is a number of the writing process (the place of a cell, or a batch's number),
stirred with random bytes of that process: the same for the same each time it is made, unlike any
other, and as good as random. The stirring is splitmix64 (Steele, Lea, Flood 2014), a bijection.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.uint64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_BATCH: Final = np.uint64(0xD1B54A32D192ED03)
_SPAN: Final = np.uint64(0x8CB92BA72F3D8DD7)


class SpanIds:
    """Makes the ids of one process from the seed in its `gateway.records.events.ProcessStarted`."""

    def __init__(self, seed: bytes) -> None:
        self._high, self._low = (
            np.uint64(int.from_bytes(seed[at : at + 8], "little")) for at in (0, 8)
        )

    def request_traces(self, places: Numbers) -> Bytes:
        """Trace ids, (n, 16), of requests whose cells stand at these places."""
        return self._traces(places)

    def request_spans(self, places: Numbers, child: int = 0) -> Bytes:
        """Span ids, (n, 8), of requests whose cells stand at these places.

        `child`: 0 for the request's own span; 1, 2 and so on for its children.
        """
        return self._spans(places, np.uint64(child))

    def batch_traces(self, numbers: Numbers) -> Bytes:
        """Trace ids, (n, 16), of batches."""
        return self._traces(numbers ^ _BATCH)

    def batch_spans(self, numbers: Numbers) -> Bytes:
        """Span ids, (n, 8), of batches."""
        return self._spans(numbers ^ _BATCH, np.uint64(0))

    def _traces(self, numbers: Numbers) -> Bytes:
        halves = np.empty((len(numbers), 2), np.uint64)
        halves[:, 0] = _stirred(numbers ^ self._high)
        halves[:, 1] = _stirred(numbers ^ self._low)
        return halves.view(np.uint8)

    def _spans(self, numbers: Numbers, child: np.uint64) -> Bytes:
        with np.errstate(over="ignore"):
            stirred = _stirred((numbers ^ self._high) + _SPAN * (child + np.uint64(1)))
        stirred[stirred == 0] = _GOLDEN  # an id of zeros is none
        return stirred.reshape(-1, 1).view(np.uint8)


def _stirred(numbers: Numbers) -> Numbers:
    with np.errstate(over="ignore"):
        stirred = numbers + _GOLDEN
        stirred = (stirred ^ (stirred >> np.uint64(30))) * _FIRST
        stirred = (stirred ^ (stirred >> np.uint64(27))) * _SECOND
        return np.asarray(stirred ^ (stirred >> np.uint64(31)), np.uint64)
