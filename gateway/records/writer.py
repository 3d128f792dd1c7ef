"""Writes down what became of every request of a serving process.

Counted always, in a cell of its own where somebody will want to see it.

What is done here is done for every request, so it is done in microseconds: answers are gathered and
looked at in the loop's next turn, when they have left, all with the same clock. Nothing here waits
for anybody or raises.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import Final

from gateway.core.errors import CANCELLED, REASONS, reason_index
from gateway.core.request import Caller, InferenceRequest, Prediction
from gateway.core.span_context import SpanContext, span_context_of
from gateway.records.cells import (
    DEGRADED,
    HAS_IDS,
    HAS_PARENT,
    KEPT,
    NO_ROW,
    REFUSED_SAMPLING,
    REQUEST,
    REQUEST_ID_AT,
    REQUEST_ID_BYTES,
    REQUEST_IDS,
    REQUEST_PLAIN,
    SAMPLED,
    SLOW,
)
from gateway.records.counted_version import CountedVersion
from gateway.records.counters import VersionStatistics
from gateway.records.events import Detail, Event, encode
from gateway.records.name_table import NameTable
from gateway.records.request_details import (
    MOST_DETAILS_PER_S,
    NOTHING,
    Allowance,
    Failure,
    answer_detail,
    failure_detail,
)
from gateway.records.ring import RingWriter
from gateway.records.sampling import (
    NO_PARENT,
    PARENT_NOT_SAMPLED,
    PARENT_SAMPLED,
    Sampler,
    SamplingPlan,
)

_NO_ID: Final = bytes(8)
_CANCELLED: Final = REASONS.index(CANCELLED)


class RecordWriter:
    """The journal of one process.

    The sampled requests get a cell, and those that are not as they should be: of failures as many a
    second as somebody can look at, all of them where traces or `failures` want them. `everything`:
    every request does; `listed`: a share of the others, drawn.
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
        self._publish_soon()

    def sample_by(self, plan: SamplingPlan) -> None:
        """Says who is exported from here on.

        A request of which it is decided already whether it is sampled stays so.
        """
        self._sampler = Sampler(plan)
        self._traces = plan.traces
        self._every_failure = self._everything or self._failures or plan.traces

    def exports(self, context: SpanContext) -> bool:
        """Whether a span of this context is exported.

        Where no traces are, a caller's sampled one is passed on and no more.
        """
        return self._traces and context.sampled

    @property
    def keeps_failures(self) -> bool:
        """What fails is exported, sampled or not, where no caller forbids it."""
        return self._sampler.keeps_notable()

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

        `id_field`: its id, behind a tag and a length. It is counted for the version that served it.
        """
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._check_answer)
        self._answers.append((request, prediction, id_field, flags))

    def failed(self, failure: Failure, flags: int = 0) -> None:
        """A request has ended without an answer."""
        now = time.monotonic()
        request = failure.request
        version = failure.version
        elapsed_s = now - failure.arrived
        reason = reason_index(failure.error)
        (version.counts if version is not None else self._unresolved).record_failure(
            reason, elapsed_s
        )
        detailed = self._details.acquire(now)
        if not (detailed or self._every_failure):
            # a burst of failures: it is counted, and there is enough of it to look at
            return
        parent = span_context_of(failure.caller.metadata())
        flags |= self._sampling(request, parent)
        row = version.row if version is not None else NO_ROW
        if reason == _CANCELLED and not (self._everything or flags & SAMPLED):
            return  # the caller's own doing, and it may be a habit
        detail = failure_detail(failure, parent, now) if detailed else NOTHING
        request_id = failure.request_id.encode()
        self._write(
            request,
            failure.caller,
            parent,
            row,
            failure.status,
            reason,
            flags,
            (failure.arrived, now),
            request_id,
            detail,
        )

    def write_event(self, event: Event) -> None:
        """Writes a note."""
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
        """For a batch."""
        self._numbers += 1
        return self._numbers

    def context(self, request: InferenceRequest) -> SpanContext:
        """The request's own span, made when it is first asked for."""
        request = request.parent or request
        if request.context is None:
            parent = (
                span_context_of(request.caller.metadata()) if request.caller is not None else None
            )
            ids = os.urandom(24)
            sampled = bool(self._drawn(parent))
            if parent is None:
                request.context = SpanContext(ids[:16], ids[16:], sampled)
            else:  # where nothing is exported here, the caller's decision is passed on as it is
                request.context = SpanContext(
                    parent.trace_id,
                    ids[16:],
                    sampled if self._traces else parent.sampled,
                    parent.tracestate,
                )
        return request.context

    # What is done for every answer.

    def _check_answer(self) -> None:
        answers = self._answers
        self._answers = []
        now = time.monotonic()
        traces = self._traces
        everything = self._everything
        for request, prediction, id_field, how in answers:
            version: CountedVersion = prediction.served_by
            elapsed_s = now - request.arrived
            run = request.run
            slowest = version.slowest
            flags = how
            version.counts.record_request(
                elapsed_s, run.started_ns * 1e-9 - request.arrived if run is not None else -1.0
            )
            if elapsed_s > slowest.limit_s:
                slowest.over += 1
                flags |= SLOW
            if prediction.degraded:
                version.counts.record_degraded()
                flags |= DEGRADED
            # no secret
            drawn = everything or (self._listed > 0 and random.random() < self._listed)  # noqa: S311
            if traces or drawn or flags & (SLOW | DEGRADED):
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
        flags |= self._sampling(request, parent)
        if drawn or flags & (SAMPLED | SLOW | DEGRADED):
            detail = answer_detail(request, prediction)
            self._write(
                request,
                caller,
                parent,
                prediction.served_by.row,
                0,
                0,
                flags,
                (request.arrived, now),
                _id_text(id_field),
                detail,
            )

    def _sampling(self, request: InferenceRequest | None, parent: SpanContext | None) -> int:
        """The flags that say whether it is exported."""
        if request is not None and request.context is not None:
            flags = SAMPLED if self.exports(request.context) else 0
        else:
            flags = SAMPLED if self._drawn(parent) else 0
        if parent is None:
            return flags
        return flags | HAS_PARENT | (0 if parent.sampled else REFUSED_SAMPLING)

    def _drawn(self, parent: SpanContext | None) -> bool:
        if parent is None:
            return self._sampler.sampled(NO_PARENT)
        return self._sampler.sampled(_callers_choice(parent), parent.trace_id)

    def _write(
        self,
        request: InferenceRequest | None,
        caller: Caller,
        parent: SpanContext | None,
        row: int,
        status: int,
        reason: int,
        flags: int,
        times: tuple[float, float],
        request_id: bytes,
        detail: Detail,
    ) -> None:
        peer = self.names.peer(caller.peer())
        if len(request_id) > REQUEST_ID_BYTES:
            detail = detail._replace(request_id=request_id.decode(errors="replace"))
            request_id = request_id[:REQUEST_ID_BYTES]
        if parent is not None and parent.tracestate:
            detail = detail._replace(tracestate=parent.tracestate)
        # it belongs to the very next cell
        if detail is not NOTHING and not self._ring.write_event(encode(detail), behind=1):
            return
        at = self._ring.offset()
        cells = self._ring.cells
        arrived, ended = times
        if at < 0:
            return
        own = request.context if request is not None else None
        if own is not None:
            flags |= HAS_IDS
        if (
            not flags & SAMPLED
            and (status or flags & (DEGRADED | SLOW))
            and self._sampler.keeps_notable(_callers_choice(parent))
        ):
            flags |= KEPT
        if request is None:
            fields = (int(arrived * 1e9), int(ended * 1e9), 0, 0, float("inf"), 0)
        else:
            run = request.run
            form = request.form
            number = run.number if run is not None else 0
            fields = (
                int(arrived * 1e9),
                int(ended * 1e9),
                number,
                form.rows,
                request.deadline - arrived,
                form.input_bytes,
            )
        REQUEST_PLAIN.pack_into(
            cells, at, REQUEST, status, flags, len(request_id), row, *fields, peer, reason
        )
        if flags & (HAS_IDS | HAS_PARENT):
            _pack_ids(cells, at + REQUEST_PLAIN.size, own, parent)
        if request_id:
            cells[at + REQUEST_ID_AT : at + REQUEST_ID_AT + len(request_id)] = request_id
        self._publish_soon()

    def _publish_soon(self) -> None:
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self.publish)

    def __repr__(self) -> str:
        return f"<RecordWriter {self._ring!r}>"


def _pack_ids(
    cells: memoryview, at: int, own: SpanContext | None, parent: SpanContext | None
) -> None:
    """The trace's id, the request's span and its parent's; zeros for what there is not."""
    trace_id = b""
    span_id = _NO_ID
    if own is not None:
        trace_id = own.trace_id
        span_id = own.span_id
    elif parent is not None:
        trace_id = parent.trace_id
    parent_id = parent.span_id if parent is not None else _NO_ID
    REQUEST_IDS.pack_into(cells, at, trace_id, span_id, parent_id)


def _callers_choice(parent: SpanContext | None) -> int:
    """The caller's sampling decision."""
    if parent is None:
        return NO_PARENT
    return PARENT_SAMPLED if parent.sampled else PARENT_NOT_SAMPLED


def _id_text(field: bytes) -> bytes:
    """The id of a response's id field, which is a tag, a length of one byte, or of two from 128 on.

    The text.
    """
    if not field:
        return b""
    return field[2:] if field[1] < 0x80 else field[3:]  # noqa: PLR2004
