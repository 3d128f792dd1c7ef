"""Refuses outputs that are no answer: NaN, infinity, values out of the declared range.

Used in serving processes, for each batch of a version that asks for it.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from gateway.core.datatypes import BF16, BYTES, numpy_dtype
from gateway.core.errors import OutputRefused
from gateway.core.instance import Runner, Work
from gateway.core.plan import TensorSpec, VersionPlan
from gateway.core.request import Array

_REALS: Final = frozenset({"FP16", "FP32", "FP64", BF16})
_LARGEST_BF16: Final = (2 - 2**-7) * 2.0**127


class OutputGuard:
    """Looks at whole batches: 3-6 us for 64 rows of 128 floats (two-byte ones: 8-20).

    Who of a batch is guilty, bisection finds. Thread safe.
    """

    def __init__(self, plan: VersionPlan) -> None:
        """Raises ValueError where the plan's guard names what the version does not have.

        Or what cannot be so.
        """
        guard = plan.protection.output_guard
        specs = {spec.name: (index, spec) for index, spec in enumerate(plan.outputs)}
        self._subject = f"of '{plan.model}' version {plan.version}"
        self._batched = plan.batching.max_batch_size > 0
        self._rules: dict[int, _Rule] = {}
        for name in sorted({*guard.finite, *guard.ranges}):
            if name not in specs:
                raise ValueError(
                    f"output_guard: there is no output '{name}', only {', '.join(specs)}"
                )
            index, spec = specs[name]
            lowest, highest = guard.ranges.get(name, (-math.inf, math.inf))
            self._rules[index] = _Rule(spec, lowest, highest, finite=name in guard.finite)

    @property
    def watches(self) -> bool:
        """There is anything to look at: without, runners and works need no guard around them."""
        return bool(self._rules)

    def check(self, outputs: list[Array], wanted: tuple[int, ...]) -> None:
        """Raises OutputRefused, naming output, value and place.

        Where one of the wanted outputs (in that order) is no answer.
        """
        for index, array in zip(wanted, outputs, strict=True):
            rule = self._rules.get(index)
            if rule is not None and not rule.holds(array):
                raise OutputRefused(self._text(rule, array))

    def finish(self, work: Work, outputs: list[Array]) -> None:
        """Finishes a work that was run elsewhere, or fails it where its outputs are no answer."""
        try:
            self.check(outputs, work.wanted)
        except OutputRefused as error:
            work.fail(error)
        else:
            work.finish(outputs)

    def _text(self, rule: _Rule, array: Array) -> str:
        place = rule.first_bad(array)
        value = array[place]
        where = f" in row {place[0]}, at {list(place)}" if self._batched else f" at {list(place)}"
        name = "NaN" if value != value else str(value)  # noqa: PLR0124  # that is what NaN is
        return f"output '{rule.name}' {self._subject} holds {name}{where}; {rule.wanted}"

    def __repr__(self) -> str:
        return (
            f"<OutputGuard {self._subject}: "
            f"{', '.join(rule.name for rule in self._rules.values()) or 'nothing'}>"
        )


class _Rule:
    """What one output must be like: a range, as its datatype has it.

    Comparisons are written to be false for NaN.
    """

    __slots__ = (
        "_from_above",
        "_from_below",
        "_highest",
        "_lowest",
        "_only_finite",
        "_widened",
        "name",
        "wanted",
    )

    def __init__(self, spec: TensorSpec, lowest: float, highest: float, *, finite: bool) -> None:
        open_range = lowest == -highest == -math.inf
        self.name = spec.name
        self._only_finite = finite and open_range
        self.wanted = (
            "finite numbers are wanted"
            if self._only_finite
            else f"{lowest:g} to {highest:g} is wanted"
        )
        self._lowest, self._highest = _bounds(spec, lowest, highest, finite=finite)
        # numpy reduces two-byte numbers one by one: 20-40 us for 64x128 of
        # them; widened first it is 4-14.
        self._widened = spec.datatype in ("FP16", BF16)
        self._from_above = highest < math.inf or finite
        # once at least, for NaN
        self._from_below = lowest > -math.inf or finite or not self._from_above

    def holds(self, array: Array) -> bool:
        """All elements are as they must be."""
        if not array.size:
            return True
        if self._widened:
            array = array.astype(np.float32)
        if self._only_finite:
            return bool(np.isfinite(array).all())
        if self._from_below and not self._lowest <= np.minimum.reduce(array, axis=None).item():
            return False
        return not self._from_above or bool(
            np.maximum.reduce(array, axis=None).item() <= self._highest
        )

    def first_bad(self, array: Array) -> tuple[int, ...]:
        """Where the first element is that is not; there must be one."""
        if self._widened:
            array = array.astype(np.float32)
        good = (array >= self._lowest) & (array <= self._highest)
        return tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), array.shape))


def _bounds(
    spec: TensorSpec, lowest: float, highest: float, *, finite: bool
) -> tuple[float, float]:
    """The range in numbers of the output's datatype.

    0.1 as FP32 is more than 0.1, and not out of a range that ends there.
    """
    kind = f"output_guard: output '{spec.name}' is {spec.datatype}"
    text = f"and no such number is in the range from {lowest:g} to {highest:g}"
    if spec.datatype in (BYTES, "BOOL"):
        raise ValueError(f"{kind}, which has no {'NaN' if finite else 'range'}")
    if finite and spec.datatype not in _REALS:
        raise ValueError(f"{kind}, which is always finite")
    limit_low, limit_high = _limits(spec.datatype)
    if not lowest <= highest or lowest > limit_high or highest < limit_low:
        raise ValueError(f"{kind}, {text}")
    if spec.datatype not in _REALS:
        least = math.ceil(max(lowest, limit_low))
        most = math.floor(min(highest, limit_high))
        if least > most:
            raise ValueError(f"{kind}, {text}")
        return least, most
    open_below = lowest == -math.inf and not finite
    open_above = highest == math.inf and not finite
    low = lowest if open_below else _rounded(max(lowest, limit_low), spec.datatype)
    high = highest if open_above else _rounded(min(highest, limit_high), spec.datatype)
    return low, high


def _limits(datatype: str) -> tuple[float, float]:
    if datatype == BF16:
        return -_LARGEST_BF16, _LARGEST_BF16
    dtype = numpy_dtype(datatype)
    if datatype in _REALS:
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _rounded(bound: float, datatype: str) -> float:
    return float(numpy_dtype(datatype).type(bound))


class GuardedRunner:
    """A runner around a runner: what it returns has passed the guard."""

    def __init__(self, inner: Runner, guard: OutputGuard) -> None:
        self._inner = inner
        self._guard = guard

    def run(self, feed: dict[str, Array], wanted: tuple[int, ...], rows: int) -> list[Array]:
        """The wanted outputs by index; raises ModelFailed, OutputRefused."""
        outputs = self._inner.run(feed, wanted, rows)
        self._guard.check(outputs, wanted)
        return outputs

    def __repr__(self) -> str:
        return f"<GuardedRunner {self._inner!r}, {self._guard!r}>"
