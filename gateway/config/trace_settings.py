"""The TraceSettings there are where traces are exported, and the sampling they come to.

They have Triton's names. The main process makes and checks them; each serving process samples by
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from gateway.core.errors import InvalidRequest
from gateway.core.setting_value import Setting
from gateway.records.sampling import SamplingPlan

_OPENTELEMETRY: Final = "opentelemetry"
_OFF = ("OFF",)
_ON = ("TIMESTAMPS",)
_MOST_RATE: Final = (1 << 32) - 1  # as much as Triton's own takes


def trace_settings_of(plan: SamplingPlan) -> dict[str, Setting]:
    """The settings that a plan is shown as.

    Of every `trace_rate` traces that begin here one is kept; those that callers began are not
    counted.
    """
    rate = round(min(1 / plan.ratio, _MOST_RATE)) if plan.ratio else 1
    return {"trace_mode": _OPENTELEMETRY, "trace_level": _level_of(plan), "trace_rate": rate}


def check_trace_setting(name: str, value: Setting) -> None:
    """Raises `InvalidRequest` where the setting cannot have the value."""
    match name:
        case "trace_level":
            fits = value in (_OFF, _ON)
            expected = "OFF (no trace begins here) or TIMESTAMPS"
        case "trace_rate":
            fits = isinstance(value, int) and 1 <= value <= _MOST_RATE
            expected = f"a whole number from 1 to {_MOST_RATE} (one of so many is kept)"
        case _:
            fits = value == _OPENTELEMETRY
            expected = f"{_OPENTELEMETRY}, there is no other"
    if not fits:
        raise InvalidRequest(
            f"setting '{name}' must be {expected}, got "
            f"{', '.join(value) if isinstance(value, tuple) else value}"
        )


def changed_sampling(start: SamplingPlan, changes: Mapping[str, Setting]) -> SamplingPlan:
    """The plan of the start with the settings that were changed since.

    Where the rate was not, the ratio stays the start's own, not one rounded to a rate.
    """
    if not changes:
        return start
    rate = changes.get("trace_rate")
    ratio = 1 / rate if isinstance(rate, int) else start.ratio or 1.0
    if changes.get("trace_level", _level_of(start)) == _OFF:
        ratio = 0.0
    return replace(start, ratio=ratio, traces=start.parent_based or ratio > 0)


def _level_of(plan: SamplingPlan) -> tuple[str, ...]:
    return _ON if plan.ratio else _OFF
