"""A request that no other waits behind is run even where its answer may come a little late."""

import pytest
from msgspec.structs import replace

from gateway.core.plan import BatchingPlan
from gateway.serving.batching.deadline_admission import DeadlineAdmission
from gateway.serving.batching.queue import BatchQueue
from tests.support.batcher_parts import plan
from tests.support.queue_entry import Entry


@pytest.mark.parametrize(
    "batching",
    [BatchingPlan(max_batch_size=8, useful_batch_size=8), BatchingPlan(max_batch_size=0)],
)
def test_only_who_would_hold_up_another_is_left_out_for_coming_late(batching):
    batch_queue = BatchQueue(batching)
    deadline_admission = DeadlineAdmission(
        replace(plan(), batching=batching, cost_us=((1, 1e6),)), batch_queue, max_concurrency=1
    )
    deadline_admission.ran(1, 1.0, now=0.0)
    batch_queue.add(Entry(deadline=0.9))
    assert deadline_admission.answered_at(0.1, running=0) == 0.1
    assert deadline_admission.answered_at(0.1, running=1) > 0.9
    for _ in range(8):
        batch_queue.add(Entry(deadline=0.9))
    assert deadline_admission.answered_at(0.1, running=0) > 0.9
