"""The journal of a serving process: what became of each of its requests.

Every request is counted; a cell of its own gets the one that somebody will want to see.

What is done here is done for every request, so it is done in microseconds: answers are gathered and
looked at in the loop's next turn, when they have left, all with the same clock. Nothing here waits
for anybody or raises.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final

from gateway.core.errors import CANCELLED, REASONS, reason_index
from gateway.core.request import InferenceRequest, Prediction
from gateway.core.span_context import span_context_of
from gateway.records.cells import DEGRADED, NO_ROW, SAMPLED, SLOW
from gateway.records.counted_version import CountedVersion
from gateway.records.counters import VersionStatistics
from gateway.records.events import Event, encode
from gateway.records.name_table import NameTable
from gateway.records.request_cells import RequestCells, id_text, request_fields
from gateway.records.request_details import (
    MOST_DETAILS_PER_S,
    Allowance,
    Failure,
    answer_detail,
    failure_detail,
    rest_detail,
)
from gateway.records.request_sampling import RequestSampling
from gateway.records.ring import RingWriter
from gateway.records.sampling import SamplingPlan

_CANCELLED: Final = REASONS.index(CANCELLED)


class RecordWriter:
    """Counts the requests of one process, and writes cells of some of them.

    A cell is written of a request that is sampled, and of one that failed, was degraded or slow: of
    failures as many a second as somebody can look at, or all where traces or `failures` want them.
    `everything`: of every request; `listed`: of a share of the others, drawn.
    """

    def __init__(
        self,
        ring: RingWriter,
        plan: SamplingPlan,
        unresolved: VersionStatistics,
        *,
        everything: bool = False,
        failures: bool = False,
        listed: float = 0.0,
    ) -> None:
        """`unresolved`: where requests are counted for which no version was found."""
        self._ring = ring
        self._unresolved = unresolved
        self._everything = everything
        self._failures = failures
        self._listed = listed
        self.sample_by(plan)
        self._answers: list[tuple[InferenceRequest, Prediction, bytes, int]] = []
        self._details = Allowance(MOST_DETAILS_PER_S)
        self._publishing = False
        self._numbers = 0
        self.names = NameTable(ring)
        self._cells = RequestCells(ring)
        self._publish_soon()

    def sample_by(self, plan: SamplingPlan) -> None:
        """Says who is exported from here on.

        A request of which it is decided already whether it is sampled stays so.
        """
        self.sampling = RequestSampling(plan)
        self._every_failure = self._everything or self._failures or plan.traces

    @property
    def dropped(self) -> int:
        """Cells that found no room, ever."""
        return self._ring.dropped

    def answered(
        self,
        request: InferenceRequest,
        prediction: Prediction,
        id_field: bytes,
        flags: int = 0,
    ) -> None:
        """A request has its answer, which leaves in this turn of the loop.

        It is counted for the version that served it. `id_field`: its id, behind a tag and a length.
        """
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._look_at_answers)
        self._answers.append((request, prediction, id_field, flags))

    def failed(self, failure: Failure, flags: int = 0) -> None:
        """A request has ended without an answer."""
        now = time.monotonic()
        reason = reason_index(failure.error)
        version = failure.version
        counts = version.counts if version is not None else self._unresolved
        counts.record_failure(reason, now - failure.arrived)
        detailed = self._details.acquire(now)
        # else it is one of a burst, which is counted, and there is enough of it to look at
        if detailed or self._every_failure:
            self._write_failure(failure, reason, flags, now, detailed=detailed)

    def write_event(self, event: Event) -> None:
        """Writes an event."""
        self._ring.write_event(encode(event))
        self._publish_soon()

    def publish(self) -> None:
        """Lets what was written be read."""
        self._publishing = False
        self._ring.publish()

    def cell(self) -> tuple[memoryview, int]:
        """Room for a cell, and where it begins; below 0: there is none."""
        self._publish_soon()
        return self._ring.cells, self._ring.offset()

    def next_number(self) -> int:
        """The number of the next batch, from 1."""
        self._numbers += 1
        return self._numbers

    def _look_at_answers(self) -> None:
        answers = self._answers
        self._answers = []
        now = time.monotonic()
        everything = self._everything
        listed = self._listed
        looked_at = everything or self.sampling.traces
        for request, prediction, id_field, how in answers:
            version: CountedVersion = prediction.served_by
            run = request.run
            flags = how
            elapsed_s = now - request.arrived
            queue_s = run.started_ns * 1e-9 - request.arrived if run is not None else -1.0
            version.counts.record_request(elapsed_s, queue_s)
            if elapsed_s > version.slowest.limit_s:
                version.slowest.over += 1
                flags |= SLOW
            if prediction.degraded:
                version.counts.record_degraded()
                flags |= DEGRADED
            # no secret
            drawn = everything or (listed > 0 and random.random() < listed)  # noqa: S311
            if looked_at or drawn or flags & (SLOW | DEGRADED):
                self._write_answer(request, prediction, id_field, flags, now, drawn=drawn)
        self._ring.publish()

    def _write_answer(
        self,
        request: InferenceRequest,
        prediction: Prediction,
        id_field: bytes,
        flags: int,
        now: float,
        *,
        drawn: bool,
    ) -> None:
        caller = request.caller
        if caller is None:
            return
        parent = span_context_of(caller.metadata())
        notable = flags & (SLOW | DEGRADED) != 0
        flags |= self.sampling.flags(request, parent, notable=notable)
        if not (drawn or notable or flags & SAMPLED):
            return
        row = prediction.served_by.row
        peer = self.names.peer(caller.peer())
        request_id = id_text(id_field)
        fields = request_fields(row, request, request.arrived, now, peer, 0)
        detail = answer_detail(request, prediction, parent, request_id)
        self._cells.write(request.context, parent, 0, flags, fields, request_id, detail)

    def _write_failure(
        self, failure: Failure, reason: int, flags: int, now: float, *, detailed: bool
    ) -> None:
        request = failure.request
        parent = span_context_of(failure.caller.metadata())
        flags |= self.sampling.flags(request, parent, notable=True)
        if reason == _CANCELLED and not (self._everything or flags & SAMPLED):
            return  # the caller's own doing, and it may be a habit
        own = request.context if request is not None else None
        row = failure.version.row if failure.version is not None else NO_ROW
        peer = self.names.peer(failure.caller.peer())
        request_id = failure.request_id.encode()
        fields = request_fields(row, request, failure.arrived, now, peer, reason)
        if detailed:
            detail = failure_detail(failure, parent, request_id, now)
        else:
            detail = rest_detail(parent, request_id)
        self._cells.write(own, parent, failure.status, flags, fields, request_id, detail)
        if not self._publishing:  # looked at here, which saves a call where many fail
            self._publish_soon()

    def _publish_soon(self) -> None:
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self.publish)

    def __repr__(self) -> str:
        return f"<RecordWriter {self._ring!r}>"
