"""Whether a constant can stand in for a version's answer; checked in the control process."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.config.typed_yaml import did_you_mean
from gateway.core.datatypes import BYTES, ITEM_BYTES
from gateway.core.plan import TensorSpec

Shape = tuple[int, ...]

_LARGEST = {
    "FP16": 65504.0,
    "BF16": 3.3895313892515355e38,
    "FP32": 3.4028234663852886e38,
    "FP64": sys.float_info.max,
}
_LONGEST_SHOWN = 40
_MOST_AXES = 8


def constant_faults(
    key: str, constant: Mapping[str, object], outputs: Sequence[TensorSpec], *, batched: bool
) -> Iterator[str]:
    """What keeps the constant from being an answer, a sentence each.

    `constant` has the values of each output by its name, of one row where the version is batched.
    """
    names = [spec.name for spec in outputs]
    yield from (
        f"{key} names '{name}', but there is no such output{did_you_mean(name, names)}"
        for name in constant
        if name not in names
    )
    for spec in outputs:
        if spec.name in constant:
            yield from _output_faults(f"{key}.{spec.name}", constant[spec.name], spec, batched)
        else:
            yield f"{key} lacks the output '{spec.name}'"


def _output_faults(where: str, value: object, spec: TensorSpec, batched: bool) -> Iterator[str]:
    expected = spec.shape[1:] if batched else spec.shape
    # a whole tensor without axes may be one of any rank: ONNX Runtime shows both alike
    shape = _shape(value, len(expected) if spec.shape else _MOST_AXES)
    if shape is None:
        yield f"{where}: its lists differ in length"
    elif not (_fits(shape, expected) if spec.shape else len(shape) <= _MOST_AXES):
        yield (
            f"{where} has the shape {list(shape)}, but {'a row of ' if batched else ''}the "
            f"output has {list(expected)}"
        )
    elif (stranger := _stranger(value, spec.datatype)) is not None:
        yield f"{where} holds {stranger}, which is no {spec.datatype}"


def _shape(value: object, deepest: int) -> Shape | None:
    """The nested lists' shape; None: they differ in length.

    It goes one axis beyond the deepest that is expected, at most: YAML can nest without end.
    """
    if not isinstance(value, list):
        return ()
    shapes = {_shape(item, deepest - 1) for item in value} or {()} if deepest else {()}
    inner = shapes.pop()
    return None if shapes or inner is None else (len(value), *inner)


def _fits(shape: Shape, expected: Shape) -> bool:
    return len(shape) == len(expected) and all(
        want in (-1, size) for size, want in zip(shape, expected, strict=True)
    )


def _stranger(value: object, datatype: str) -> str | None:
    """The first element, as a text, that is not of the datatype; None: there is none."""
    for element in _elements(value):
        if not _is_of(element, datatype):
            shown = repr(element)
            return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
    return None


def _elements(value: object) -> Iterable[object]:
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _elements(item)


def _is_of(element: object, datatype: str) -> bool:
    if datatype == BYTES:
        return isinstance(element, str)
    if datatype == "BOOL":
        return isinstance(element, bool)
    if isinstance(element, bool) or not isinstance(element, int | float):
        return False
    if datatype in _LARGEST:
        return abs(element) <= _LARGEST[datatype] or (
            isinstance(element, float) and not math.isfinite(element)
        )
    bits = 8 * ITEM_BYTES[datatype]
    low, high = (0, 1 << bits) if datatype.startswith("U") else (-(1 << bits - 1), 1 << bits - 1)
    return isinstance(element, int) and low <= element < high
