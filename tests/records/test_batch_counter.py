"""What a finished batch adds to the counters."""

from types import SimpleNamespace

import numpy as np
import pytest

from gateway.core.request import InferenceRequest, RequestForm
from gateway.records.batch_counter import BatchCounter
from gateway.serving.batching.splitter import Part


class Statistics:
    def __init__(self):
        self.batches = []
        self.bytes = []
        self.retries = 0

    def record_batch(self, **counted):
        counted.pop("now_ms")
        self.batches.append(counted)

    def record_bytes(self, input_bytes, output_bytes):
        self.bytes.append((input_bytes, output_bytes))

    def record_retry(self):
        self.retries += 1


def request(kind=InferenceRequest, arrived=1.0):
    form = RequestForm(names=("x",), key=("x",), rows=2, input_bytes=8, outputs=(0,), parameters={})
    return kind(form, (), arrived)


def batch(*requests, error=None, run_again=(), request_rows=4):
    return SimpleNamespace(
        requests=requests,
        request_rows=request_rows,
        started_ns=3_000_000_000,
        collated_ns=3_000_000_010,
        run_ns=3_000_000_110,
        ended_ns=3_000_000_115,
        input_bytes=16,
        outputs=[np.zeros((4, 3), "f4")],
        error=error,
        run_again=run_again,
    )


def counted(finished):
    statistics = Statistics()
    BatchCounter(statistics).batch_finished(finished)
    return statistics


def test_an_answered_batch_adds_its_requests_their_waits_and_its_times():
    statistics = counted(batch(request(arrived=1.0), request(arrived=2.0)))
    assert statistics.batches == [
        {
            "requests": 2,
            "rows": 4,
            "queue_ns": 3_000_000_000,
            "compute_input_ns": 10,
            "compute_infer_ns": 100,
            "compute_output_ns": 5,
        }
    ]
    assert statistics.bytes == [(16, 48)]
    assert statistics.retries == 0


def test_a_part_of_a_large_request_adds_its_rows_but_no_request():
    (only,) = counted(batch(request(Part))).batches
    assert (only["requests"], only["rows"], only["queue_ns"]) == (0, 4, 0)


def test_a_run_without_a_batch_axis_is_one_row():
    assert counted(batch(request(), request_rows=-1)).batches[0]["rows"] == 1


@pytest.mark.parametrize("again", [0, 1])
def test_a_failed_batch_is_a_retry_where_it_is_run_again_and_else_nothing(again):
    requests = (request(), request())
    statistics = counted(batch(*requests, error=ValueError(), run_again=requests[:again]))
    assert (statistics.batches, statistics.bytes, statistics.retries) == ([], [], again)
