"""Counts the batches of one version, in a serving process."""

from __future__ import annotations

import time

from gateway.core.batch_listener import BatchListener, BatchView
from gateway.records.counters import VersionStatistics


class BatchCounter(BatchListener):
    """Adds finished batches to the counters."""

    def __init__(self, statistics: VersionStatistics) -> None:
        self._statistics = statistics

    def batch_finished(self, batch: BatchView) -> None:
        """Counts it; there are three cases.

        It was answered: its requests, rows and times are added. It failed and is run again: that
        is a retry. It failed for good: each of its requests is counted where it fails.
        """
        if batch.error is None:
            self._add(batch)
        elif batch.run_again:
            self._statistics.record_retry()

    def _add(self, batch: BatchView) -> None:
        requests = batch.requests
        count = len(requests)
        arrived_ns = int(sum([request.arrived for request in requests]) * 1e9)
        # A part of a large request fills a run by itself: its rows and the run are counted, the
        # request is with its last part.
        if count == 1 and not requests[0].counted:
            count = 0
            arrived_ns = 0
        started_ns = batch.started_ns
        collated_ns = batch.collated_ns
        run_ns = batch.run_ns
        ended_ns = batch.ended_ns
        self._statistics.record_batch(
            requests=count,
            rows=max(batch.request_rows, 1),
            queue_ns=max(0, count * started_ns - arrived_ns),
            compute_input_ns=collated_ns - started_ns,
            compute_infer_ns=run_ns - collated_ns,
            compute_output_ns=ended_ns - run_ns,
            now_ms=int(time.time() * 1000),
        )
        output_bytes = sum([array.nbytes for array in batch.outputs])
        self._statistics.record_bytes(batch.input_bytes, output_bytes)

    def __repr__(self) -> str:
        return f"<BatchCounter {self._statistics!r}>"
