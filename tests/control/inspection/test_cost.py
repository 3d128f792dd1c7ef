"""What the cost curve measures and where it ends.

The models are plain functions that take a known time.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.inspection.cost import CostLimits, batch_sizes, measure, measure_one
from gateway.core.errors import ModelFailed
from gateway.core.plan import SessionPlan
from gateway.onnx.session import Session
from tests.support.inspection_models import mlp, save

pytestmark = pytest.mark.alone  # times are compared

ROWS = {"x": np.arange(5, dtype=np.float32).reshape(5, 1)}


def busy(seconds):
    """A run that takes at least this long, even if other work shares the core."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class Costly:
    """A model that takes so many seconds a row, and remembers the rows it was given."""

    def __init__(self, row_s=0.0, most=1 << 20):
        self.row_s = row_s
        self.most = most
        self.fed = []

    def __call__(self, feed):
        rows = len(feed["x"])
        if rows > self.most:
            raise ModelFailed(f"{rows} rows are too many")
        self.fed.append(feed["x"][:, 0].tolist())
        busy(rows * self.row_s)
        return [feed["x"]]


@given(st.integers(1, 5000))
def test_sizes_double_up_to_the_largest_itself(most):
    sizes = batch_sizes(most)

    assert sizes[0] == 1
    assert sizes[-1] == most
    assert all(second == 2 * first for first, second in itertools.pairwise(sizes[:-1]))
    assert sizes == sorted(set(sizes))


def test_every_size_is_measured_and_batches_repeat_the_rows_that_ran():
    run = Costly(1e-4)

    costs, refusal = measure(run, ROWS, 8)

    assert refusal == ""
    assert list(costs) == [1, 2, 4, 8]
    assert all(cost >= size * 100 for size, cost in costs.items())
    assert [0, 1, 2, 3, 4, 0, 1, 2] in run.fed


def test_the_climb_ends_where_a_run_takes_too_long():
    costs, _ = measure(Costly(0.01), ROWS, 1024, CostLimits(run_s=0.03))

    assert list(costs) == [1, 2, 4]


def test_the_climb_ends_when_the_time_is_over():
    started = time.perf_counter()

    costs, _ = measure(Costly(0.02), ROWS, 1024, CostLimits(total_s=0.1, run_s=10.0))

    assert 1 in costs
    assert 1024 not in costs
    assert time.perf_counter() - started < 5


def test_batches_too_large_to_hold_are_not_tried():
    costs, _ = measure(Costly(), ROWS, 1024, CostLimits(feed_bytes=64))

    assert max(costs) == 16


def test_a_batch_that_the_model_refuses_ends_the_climb_and_is_said():
    costs, refusal = measure(Costly(most=4), ROWS, 64)

    assert list(costs) == [1, 2, 4]
    assert refusal == "a batch of 8 rows failed (the largest that ran: 4): 8 rows are too many"


def test_a_disturbed_visit_does_not_count():
    class Disturbed(Costly):
        def __call__(self, feed):
            if len(self.fed) in range(4):
                busy(0.02)
            return super().__call__(feed)

    assert measure_one(Disturbed(), ROWS)[1] < 20_000


def test_a_model_that_fails_costs_nothing():
    assert measure_one(Costly(most=0), ROWS) == {}


def test_a_small_network_is_measured_in_milliseconds(tmp_path):
    session = Session(save(tmp_path, mlp()), SessionPlan())
    rows = {"x": np.ones((5, 8), np.float32)}
    best = min(
        _seconds(lambda: measure(lambda feed: session.run(feed, ["y"]), rows, 64)) for _ in range(5)
    )

    assert best < 0.05


def _seconds(action):
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


@pytest.mark.parametrize("visits", [1, 3])
def test_a_visit_is_one_warm_run_and_three_timed_ones_at_most(visits):
    run = Costly()

    measure_one(run, ROWS, replace(CostLimits(), visits=visits))

    assert len(run.fed) == 1 + 3 * visits
