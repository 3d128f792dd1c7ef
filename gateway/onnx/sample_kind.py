"""The ways to make a sample of inputs, in the serving process and in the inspection process."""

from __future__ import annotations

from enum import Enum
from typing import Final

import msgspec

from gateway.onnx.random_values import INTEGER_LIMIT, LARGE, POSITIVE, SIGNED, Spread

FREE_SIZES: Final = (16, 8, 32, 1, 2, 3, 4, 64, 128, 10, 224, 256, 512)
"""Guesses for sizes that a graph leaves free, most plausible first."""


class Values(Enum):
    """Where the floating-point elements of a sample come from.

    Integers and strings always come from the reference sample where it has the input.
    """

    SIGNED = "random values"
    """Normal, the rows' scales spread from 0.01 to 10."""
    POSITIVE = "random positive values"
    """Uniform, the rows' scales spread from 0.1 to 1; for graphs with a logarithm or a root."""
    LARGE = "random large values"
    """Normal, the rows' scales spread from 1 to 10 000: where ages, prices and areas are split."""
    REFERENCE = "the reference sample's values"
    """Rows of the reference sample wherever it has the input."""
    KNOWN = "values that the graph holds"
    """Constants of the graph with as many columns as the input has."""


_SPREADS: Final = {Values.POSITIVE: POSITIVE, Values.LARGE: LARGE}


class SampleKind(msgspec.Struct, frozen=True):
    """One way to make a sample, where the graph leaves several."""

    free_size: int = FREE_SIZES[0]
    """The size of free inner axes that the reference sample does not settle."""
    integer_limit: int = INTEGER_LIMIT
    """Integers lie below it (bytes below 256 where it is 10)."""
    values: Values = Values.SIGNED
    optional: bool = False
    """Optional inputs are given as well."""

    @property
    def spread(self) -> Spread:
        """How its random floating point is spread."""
        return _SPREADS.get(self.values, SIGNED)


PLAIN: Final = SampleKind()
"""The most plausible one."""
