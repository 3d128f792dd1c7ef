"""Writes down the batches of one version, in a serving process."""

from __future__ import annotations

import os
import time
from typing import Final

import numpy as np

from gateway.core.batch_listener import BatchListener, BatchView
from gateway.core.instance import Work
from gateway.core.request import RETRY, InferenceRequest
from gateway.core.span_context import SpanContext
from gateway.records.cells import BATCH, BATCH_PLAIN, CALL, CALL_PLAIN, LINK, LINK_PLAIN
from gateway.records.span_ids import SpanIds
from gateway.records.writer import RecordWriter

_LONGEST_REASON: Final = 200


class BatchWriter(BatchListener):
    """Writes the BATCH, LINK and CALL cells of one version.

    The dispatcher notifies it of batches, and a remote instance asks it for what a call carries.
    """

    def __init__(self, writer: RecordWriter, name: str, row: int) -> None:
        """`name`: MODEL/VERSION."""
        self._writer = writer
        self._row = row
        self._instance = writer.names.instance
        self._calls: dict[int, tuple[SpanContext, SpanContext]] = {}
        writer.names.version(row, name)

    def batch_started(self, batch: BatchView) -> None:
        """Gives the batch its number, and its requests the run that they are in."""
        run = batch.last_run
        run.number = self._writer.next_number()
        for request in batch.requests:
            (request.parent or request).run = run

    def batch_finished(self, batch: BatchView) -> None:
        """Writes the batch down before its requests are, and notes in these if they run again."""
        if batch.run_again:
            self._note_retry(batch)
        instance = self._instance(batch.instance)
        failed = batch.error is not None
        for request in batch.requests:
            if failed or request.parent is not None:
                self._link(batch, request)
        cells, at = self._writer.cell()
        if at < 0:
            return
        kept = failed and self._writer.sampling.keeps_failures
        ended_ns = batch.ended_ns
        started_ns = batch.started_ns or ended_ns
        collated_ns = batch.collated_ns if batch.started_ns and not failed else started_ns
        BATCH_PLAIN.pack_into(
            cells, at, BATCH, failed, kept, self._row, started_ns, batch.run_ns,
            batch.last_run.number, max(batch.request_rows, 1), len(batch.requests), collated_ns,
            instance, max(batch.rows, 1), ended_ns,
        )  # fmt: skip

    def _note_retry(self, batch: BatchView) -> None:
        now = time.monotonic()
        why = str(batch.error)[:_LONGEST_REASON]
        for request in batch.run_again:
            (request.parent or request).retries += 1
            request.add_event(now, RETRY, why)

    def outgoing(self, work: Work) -> tuple[tuple[str, str], ...]:
        """The metadata of a call to another server that is to run a batch.

        It carries the call's span: a child of the only request's, or else of the batch's.
        """
        parent = self._parent_of(work)
        own = parent._replace(span_id=os.urandom(8))
        self._calls[work.number] = own, parent
        return own.metadata()

    def returned(self, work: Work, address: str, started_s: float, answered: bool) -> None:
        """Writes down the call to another server that `outgoing` was asked for, if it is exported.

        `started_s`: seconds of the monotonic clock.
        """
        own, parent = self._calls.pop(work.number, (None, None))
        if own is None or parent is None or not self._writer.sampling.exports(own):
            return
        instance = self._instance(address)
        cells, at = self._writer.cell()
        if at >= 0:
            CALL_PLAIN.pack_into(
                cells, at, CALL, not answered, self._row, int(started_s * 1e9), time.monotonic_ns(),
                work.number, instance, own.trace_id, own.span_id, parent.span_id,
            )  # fmt: skip

    def _parent_of(self, work: Work) -> SpanContext:
        if len(work.requests) == 1:
            return self._writer.sampling.context(work.requests[0])
        identifiers = SpanIds(self._writer.names.seed)
        number = np.array([work.number], np.uint64)
        contexts = [self._writer.sampling.context(request) for request in work.requests]
        return SpanContext(
            identifiers.batch_traces(number).tobytes(),
            identifiers.batch_spans(number).tobytes(),
            any(context.sampled for context in contexts),
        )

    def _link(self, batch: BatchView, request: InferenceRequest) -> None:
        context = self._writer.sampling.context(request)
        if not self._writer.sampling.exports(context):
            return
        cells, at = self._writer.cell()
        if at >= 0:
            LINK_PLAIN.pack_into(
                cells, at, LINK, batch.last_run.number, context.trace_id, context.span_id
            )

    def __repr__(self) -> str:
        return f"<BatchWriter {self._row}>"
