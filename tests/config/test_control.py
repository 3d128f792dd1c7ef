"""Delays of restarts, and options that make no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.control import (
    ControlOptions,
    ModelControlMode,
    ModelControlOptions,
    RestartOptions,
    StopOptions,
)


class TestOptions:
    @given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
    def test_a_restart_is_never_late_by_more_than_the_jitter(self, deaths, draw):
        options = RestartOptions()
        delay_s = options.delay_s(deaths, draw)
        assert (
            options.first_delay_s * (1 - options.jitter)
            <= delay_s
            <= options.longest_delay_s * (1 + options.jitter)
        )

    def test_restarts_slow_down_until_the_longest_delay(self):
        options = RestartOptions(first_delay_s=0.1, longest_delay_s=1.0, jitter=0)
        assert [options.delay_s(n, 0.5) for n in (1, 2, 3, 4, 5, 99)] == [
            0.1,
            0.2,
            0.4,
            0.8,
            1.0,
            1.0,
        ]

    def test_what_makes_no_sense_is_refused_with_its_name(self):
        with pytest.raises(
            ValueError, match="--load-model is for --model-control explicit, not poll"
        ):
            ModelControlOptions(mode=ModelControlMode.POLL, load_models=("m",))
        with pytest.raises(ValueError, match="poll interval"):
            ModelControlOptions(poll_interval_s=0)
        with pytest.raises(ValueError, match="drain_delay_s must be 0 or more: -1"):
            StopOptions(drain_delay_s=-1)
        with pytest.raises(ValueError, match="--processes must be 1 to 64"):
            ControlOptions(processes=65)
