"""How a version's output guard is planned against its outputs, in the control process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.protection_configuration import OutputGuard
from gateway.core.plan import TensorSpec
from gateway.core.protection import OutputGuardPlan

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_NO_NUMBERS = ("BOOL", "BYTES")


def plan_output_guard(
    said: OutputGuard, outputs: Sequence[TensorSpec], faults: list[str]
) -> OutputGuardPlan:
    """The output guard as configured; what is wrong with it is added to `faults`."""
    datatypes = {spec.name: spec.datatype for spec in outputs}
    floats = [name for name, datatype in datatypes.items() if datatype in _FLOATS]
    finite = floats if said.finite is True else list(dict.fromkeys(said.finite or ()))
    ranges: Mapping[str, tuple[float, float]] = said.ranges or {}
    faults.extend(_faults(finite, ranges, datatypes))
    return OutputGuardPlan(finite=tuple(finite), ranges=dict(ranges))


def _faults(
    finite: Iterable[str], ranges: Iterable[str], datatypes: Mapping[str, str]
) -> Iterator[str]:
    """What the guard cannot watch.

    There are three cases: no such output, no floating point, and no order in it.
    """
    for key, names in (("finite", finite), ("ranges", ranges)):
        for name in names:
            if name not in datatypes:
                yield (
                    f"output_guard.{key} names '{name}', but there is no such "
                    f"output{did_you_mean(name, list(datatypes))}"
                )
    for name in finite:
        if name in datatypes and datatypes[name] not in _FLOATS:
            yield (
                f"output_guard.finite names '{name}', which is {datatypes[name]}: only "
                "floating point can be NaN or infinite"
            )
    for name in ranges:
        if datatypes.get(name) in _NO_NUMBERS:
            yield f"output_guard.ranges names '{name}', which is {datatypes[name]} and has no order"
