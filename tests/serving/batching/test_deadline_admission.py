"""A request that nobody waits behind is run even where its answer may come a little late."""

from dataclasses import replace

import pytest

from gateway.core.plan import BatchingPlan
from gateway.serving.batching.deadline_admission import Punctuality
from gateway.serving.batching.queue import Window
from tests.support.batcher_parts import plan
from tests.support.queue_entry import Entry


@pytest.mark.parametrize(
    "batching",
    [BatchingPlan(max_batch_size=8, useful_batch_size=8), BatchingPlan(max_batch_size=0)],
)
def test_only_who_would_hold_up_another_is_left_out_for_coming_late(batching):
    window = Window(batching)
    punctuality = Punctuality(
        replace(plan(), batching=batching, cost_us=((1, 1e6),)), window, lanes=1
    )
    punctuality.ran(1, 1.0, now=0.0)
    window.add(Entry(deadline=0.9))
    assert punctuality.answered_at(0.1, running=0) == 0.1
    assert punctuality.answered_at(0.1, running=1) > 0.9
    for _ in range(8):
        window.add(Entry(deadline=0.9))
    assert punctuality.answered_at(0.1, running=0) > 0.9
