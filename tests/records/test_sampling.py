"""Which requests are seen in traces."""

import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.sampling import (
    NO_PARENT,
    PARENT_NOT_SAMPLED,
    PARENT_SAMPLED,
    Sampler,
    SamplingPlan,
)

PARENTS = [NO_PARENT, PARENT_SAMPLED, PARENT_NOT_SAMPLED]
plans = st.builds(
    SamplingPlan, st.booleans(), st.booleans(), st.sampled_from([0.0, 0.01, 0.5, 1.0])
)


@given(plans, st.sampled_from(PARENTS), st.binary(min_size=16, max_size=16))
def test_a_caller_decides_under_parent_based_and_nobody_is_seen_without_traces(
    plan, parent, trace_id
):
    sampler = Sampler(pickle.loads(pickle.dumps(plan)))
    sampled = sampler.sampled(parent, trace_id)
    notable = sampler.keeps_notable(parent)
    if not plan.traces:
        assert (sampled, notable) == (False, False)
    elif plan.parent_based and parent != NO_PARENT:
        assert sampled == (parent == PARENT_SAMPLED)
        assert notable == (plan.ratio > 0 and sampled)
    else:
        assert notable == (plan.ratio > 0)
        if plan.ratio in {0, 1}:
            assert sampled == bool(plan.ratio)


@given(st.floats(0, 1), st.binary(min_size=16, max_size=16))
def test_a_draw_by_trace_id_is_that_of_the_sdk(ratio, trace_id):
    from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

    theirs = (
        TraceIdRatioBased(ratio).should_sample(None, int.from_bytes(trace_id, "big"), "").decision
    )
    ours = Sampler(SamplingPlan(traces=True, parent_based=False, ratio=ratio)).sampled(
        PARENT_NOT_SAMPLED, trace_id
    )
    assert ours == (theirs is Decision.RECORD_AND_SAMPLE)


def test_the_share_drawn_is_the_ratio():
    random.seed(5)
    sampler = Sampler(SamplingPlan(traces=True, ratio=0.01))
    assert 800 < sum(sampler.sampled() for _ in range(100_000)) < 1200


def test_a_ratio_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"0 to 1, not 1\.5"):
        SamplingPlan(ratio=1.5)
