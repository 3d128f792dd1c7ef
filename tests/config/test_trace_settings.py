"""What trace settings there are, which values they take, and what sampling they come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.trace_settings import changed_sampling, trace_settings_of
from gateway.control.lifecycle.runtime_settings import RuntimeSettings
from gateway.core.errors import InvalidRequest
from gateway.ipc.messages import Change
from gateway.records.sampling import SamplingPlan

ALL = SamplingPlan(traces=True)
NONE = SamplingPlan(traces=True, ratio=0)
FEW = SamplingPlan(traces=True, ratio=0.3)
NOTHING = SamplingPlan(traces=False, parent_based=False, ratio=0)
plans = st.builds(
    SamplingPlan, st.just(value=True), st.booleans(), st.floats(0, 1, exclude_min=True)
) | st.sampled_from([NONE, NOTHING])


def settings_of(plan):
    return RuntimeSettings(trace_settings_of(plan), {})


def changed(plan, settings, **values):
    """The plan after a change."""
    settings.change(Change.TRACE_SETTINGS, values)
    return changed_sampling(plan, settings.trace_changes)


@pytest.mark.parametrize(
    ("plan", "level", "rate"),
    [
        (ALL, "TIMESTAMPS", 1),
        (FEW, "TIMESTAMPS", 3),
        (SamplingPlan(traces=True, ratio=0.01), "TIMESTAMPS", 100),
        (NONE, "OFF", 1),
        (NOTHING, "OFF", 1),
    ],
)
def test_settings_are_tritons_names_for_the_plan_of_the_start(plan, level, rate):
    assert trace_settings_of(plan) == {
        "trace_mode": "opentelemetry",
        "trace_level": (level,),
        "trace_rate": rate,
    }


@given(plans)
def test_whatever_the_start_said_may_be_said_again(plan):
    settings = settings_of(plan)
    said = settings.trace
    assert settings.change(Change.TRACE_SETTINGS, said) == said
    assert changed_sampling(plan, settings.trace_changes).traces == plan.traces


@given(plans, st.integers(1, 2**32 - 1))
def test_a_rate_is_the_ratio_of_traces_that_begin_here(plan, rate):
    settings = settings_of(plan)
    found = changed(plan, settings, trace_rate=rate, trace_level=("TIMESTAMPS",))
    assert found == SamplingPlan(traces=True, parent_based=plan.parent_based, ratio=1 / rate)
    assert settings.trace["trace_rate"] == trace_settings_of(found)["trace_rate"] == rate


@given(plans)
def test_off_begins_no_trace_and_leaves_callers_theirs(plan):
    found = changed(plan, settings_of(plan), trace_level=("OFF",))
    assert found == SamplingPlan(traces=plan.parent_based, parent_based=plan.parent_based, ratio=0)


@given(plans, st.integers(1, 1000), st.permutations(["trace_level", "trace_rate", "trace_mode"]))
def test_what_is_cleared_is_exactly_as_at_the_start(plan, rate, names):
    settings = settings_of(plan)
    changed(plan, settings, trace_level=("OFF",), trace_rate=rate)
    for name in names:
        found = changed(plan, settings, **{name: ()})
    assert found == plan
    assert settings.trace == trace_settings_of(plan)


def test_a_level_that_is_switched_on_again_has_the_ratio_of_the_start_and_all_where_that_was_none():
    for plan, ratio in ((FEW, 0.3), (NONE, 1.0), (NOTHING, 1.0)):
        settings = settings_of(plan)
        changed(plan, settings, trace_level=("OFF",))
        assert changed(plan, settings, trace_level=("TIMESTAMPS",)).ratio == ratio


def test_a_rate_alone_does_not_switch_on_what_is_off():
    settings = settings_of(NONE)
    assert changed(NONE, settings, trace_rate=5).ratio == 0
    assert changed(NONE, settings, trace_level=("TIMESTAMPS",)).ratio == 0.2


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            "trace_rate",
            0,
            (
                "setting 'trace_rate' must be a whole number from 1 to 4294967295 "
                "(one of so many is kept), got 0"
            ),
        ),
        (
            "trace_rate",
            -5,
            (
                "setting 'trace_rate' must be a whole number from 1 to 4294967295 (one "
                "of so many is kept), got -5"
            ),
        ),
        (
            "trace_rate",
            2**32,
            (
                "setting 'trace_rate' must be a whole number from 1 to 4294967295 (one of so "
                "many is kept), got 4294967296"
            ),
        ),
        ("trace_rate", "5", "setting 'trace_rate' must be of type int, got '5'"),
        (
            "trace_level",
            ("TENSORS",),
            "setting 'trace_level' must be OFF (no trace begins here) or TIMESTAMPS, got TENSORS",
        ),
        (
            "trace_level",
            ("TIMESTAMPS", "TENSORS"),
            (
                "setting 'trace_level' must be OFF (no trace begins here) or "
                "TIMESTAMPS, got TIMESTAMPS, TENSORS"
            ),
        ),
        (
            "trace_mode",
            "triton",
            "setting 'trace_mode' must be opentelemetry, there is no other, got triton",
        ),
        (
            "trace_file",
            "a",
            "unknown setting 'trace_file': expected one of trace_level, trace_mode, trace_rate",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_nothing_is_changed(name, value, text):
    settings = settings_of(FEW)
    with pytest.raises(InvalidRequest) as refused:
        settings.change(Change.TRACE_SETTINGS, {"trace_level": ("OFF",), name: value})
    assert str(refused.value) == text
    assert (settings.trace, settings.trace_changes) == (trace_settings_of(FEW), {})
