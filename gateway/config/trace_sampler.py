"""OTEL_TRACES_SAMPLER and its argument, read by the main process as a sampling plan."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.variable_values import one_of, ratio, read_variable
from gateway.records.sampling import SamplingPlan


def sampling_plan(seen: Mapping[str, str]) -> SamplingPlan:
    """The plan that the variables come to, as the specification of the SDK has it."""
    begun = (
        read_variable(seen, "OTEL_TRACES_SAMPLER_ARG", ratio, default=1.0)
        if "traceidratio" in seen.get("OTEL_TRACES_SAMPLER", "")
        else 1.0
    )
    plans = {
        f"{prefix}{name}": SamplingPlan(
            traces=parent_based or share > 0, parent_based=parent_based, ratio=share
        )
        for prefix, parent_based in (("", False), ("parentbased_", True))
        for name, share in (("always_on", 1.0), ("always_off", 0.0), ("traceidratio", begun))
    }
    return read_variable(
        seen, "OTEL_TRACES_SAMPLER", one_of(plans), default=plans["parentbased_always_on"]
    )
