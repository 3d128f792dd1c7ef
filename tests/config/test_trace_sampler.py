"""OpenTelemetry's sampler variables as a sampling plan."""

import pytest

from gateway.config.trace_sampler import sampling_plan
from gateway.records.sampling import SamplingPlan


@pytest.mark.parametrize(
    ("sampler", "argument", "plan"),
    [
        ("always_on", None, SamplingPlan(traces=True, parent_based=False)),
        ("always_off", None, SamplingPlan(parent_based=False, ratio=0)),
        ("traceidratio", "0.25", SamplingPlan(traces=True, parent_based=False, ratio=0.25)),
        ("parentbased_always_on", None, SamplingPlan(traces=True)),
        ("parentbased_always_off", "0.7", SamplingPlan(traces=True, ratio=0)),
        ("parentbased_traceidratio", "0.25", SamplingPlan(traces=True, ratio=0.25)),
        ("parentbased_traceidratio", None, SamplingPlan(traces=True)),
    ],
)
def test_the_standard_samplers_are_known(sampler, argument, plan):
    seen = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert sampling_plan({name: text for name, text in seen.items() if text}) == plan


def test_without_a_sampler_every_trace_is_kept_that_no_caller_forbids():
    assert sampling_plan({}) == SamplingPlan(traces=True)


@pytest.mark.parametrize("text", ["2", "-0.1", "half", "nan"])
def test_a_bad_ratio_is_named(text):
    with pytest.raises(
        ValueError, match=f"OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not '{text}'"
    ):
        sampling_plan({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": text})


def test_an_argument_that_the_sampler_does_not_read_is_nobodys_fault():
    seen = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "rubbish"}
    assert sampling_plan(seen).ratio == 1
