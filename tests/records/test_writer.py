"""What a serving process writes about its requests: which get a cell, and what it holds."""

import asyncio
import os
import time
from types import SimpleNamespace

import pytest

from gateway.core.errors import REASONS, InvalidRequest, ModelFailed
from gateway.core.request import RETRY, InferenceRequest, Prediction, RequestForm, Run
from gateway.core.span_context import SpanContext
from gateway.records.batch_writer import BatchWriter
from gateway.records.cells import (
    DEGRADED,
    HAS_IDS,
    HAS_PARENT,
    KEPT,
    MORE,
    NO_ROW,
    REFUSED_SAMPLING,
    SAMPLED,
    SLOW,
)
from gateway.records.reader import RecordReader
from gateway.records.request_details import Failure
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import CELLS, size_rings_file
from gateway.records.sampling import SamplingPlan
from gateway.records.slow_requests import SlowRequests
from gateway.records.writer import RecordWriter

FORM = RequestForm(names=("x",), key=("x",), rows=3, input_bytes=12, outputs=(0,), parameters={})
TRACE = bytes(range(16))
SPAN = bytes(range(8, 16))


class Call:
    def __init__(self, *metadata):
        self._metadata = metadata

    def metadata(self):
        return self._metadata

    def peer(self):
        return "ipv4:127.0.0.1:5"


class Counts:
    def __init__(self):
        self.counted = []

    def record_request(self, elapsed_s, queue_s):
        assert elapsed_s >= 0
        self.counted.append("answered" if queue_s < 0 else "answered from a batch")

    def record_failure(self, reason, elapsed_s):
        self.counted.append(REASONS[reason])

    def record_degraded(self):
        self.counted.append("degraded")


class Desk:
    """A journal and its reader."""

    def __init__(self, plan=SamplingPlan(), **options):  # noqa: B008  # frozen
        self.fd = os.memfd_create("rings")
        size_rings_file(self.fd, 1)
        self.global_limit = Counts()
        self.version = SimpleNamespace(row=7, counts=Counts(), slowest=SlowRequests())
        self.ring = RingWriter(self.fd, 0)
        self.writer = RecordWriter(self.ring, plan, self.global_limit, **options)
        self._reader = RecordReader(0, RingReader(self.fd, 0))

    def request(self, *metadata):
        request = InferenceRequest(FORM, (), 0.001)
        request.caller = Call(*metadata)
        return request

    def answered(self, *metadata, parameters=None, id_field=b"", request=None):
        request = request or self.request(*metadata)
        prediction = Prediction((), parameters)
        prediction.served_by = self.version
        prediction.degraded = (parameters or {}).get("fallback_reason", "") or " " * bool(
            parameters
        )
        self.writer.answered(request, prediction, id_field)

    def failed(self, *metadata):
        failure = Failure(Call(*metadata), ModelFailed("it broke"), 13, time.monotonic())
        failure.request = self.request(*metadata)
        failure.version = self.version
        self.writer.failed(failure)

    def batch(self, *requests, error=None, run_again=()):
        batch = SimpleNamespace(
            last_run=Run(),
            requests=requests,
            started_ns=1,
            collated_ns=2,
            run_ns=3,
            ended_ns=time.monotonic_ns(),
            instance="",
            run_again=run_again,
            rows=3,
            request_rows=3,
            error=error,
        )
        batches = BatchWriter(self.writer, "m/1", 7)
        batches.batch_started(batch)
        batches.batch_finished(batch)

    async def read(self):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._reader.read()
        return self._reader.read()

    async def read_all(self):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        chunks = [self._reader.read() for _ in range(10)]
        return [chunk for chunk in chunks if chunk is not None and len(chunk.requests)]


def desk(plan=SamplingPlan(), **options):  # noqa: B008  # frozen
    def decorated(test):
        def run():
            async def main():
                made = Desk(plan, **options)
                try:
                    await test(made)
                finally:
                    os.close(made.fd)

            asyncio.run(main())

        run.__name__ = test.__name__
        return run

    return decorated


def parent(sampled=True):
    return "traceparent", SpanContext(TRACE, SPAN, sampled).traceparent()


@desk()
async def test_without_traces_an_answer_is_counted_and_gets_no_cell(desk):
    desk.answered()
    chunk = await desk.read()
    assert desk.version.counts.counted == ["answered"]
    assert len(chunk.requests) == 0


@desk(SamplingPlan(traces=True))
async def test_with_traces_every_answer_gets_a_cell(desk):
    desk.answered(id_field=b"\x1a\x03abc")
    chunk = await desk.read()
    (cell,) = chunk.requests
    assert (cell["flags"], cell["status"], cell["version"], cell["rows"], cell["input_bytes"]) == (
        SAMPLED,
        0,
        7,
        3,
        12,
    )
    assert bytes(cell["request_id"][: cell["id_bytes"]]) == b"abc"
    assert chunk.names.peers[int(cell["peer"])] == "ipv4:127.0.0.1:5"


@desk(SamplingPlan(traces=True))
async def test_a_callers_trace_is_gone_on_with(desk):
    desk.answered(parent())
    (cell,) = (await desk.read()).requests
    assert cell["flags"] == SAMPLED | HAS_PARENT
    assert (bytes(cell["trace_id"]), bytes(cell["parent_id"])) == (TRACE, SPAN)


@desk(SamplingPlan(traces=True))
async def test_a_caller_who_says_not_sampled_is_honoured(desk):
    desk.answered(parent(sampled=False))
    assert len((await desk.read()).requests) == 0


@desk(SamplingPlan(traces=True), everything=True)
async def test_where_every_cell_is_wanted_the_callers_word_is_noted(desk):
    desk.answered(parent(sampled=False))
    (cell,) = (await desk.read()).requests
    assert cell["flags"] == HAS_PARENT | REFUSED_SAMPLING


@desk()
async def test_slow_and_degraded_answers_get_a_cell_without_traces_too(desk):
    desk.version.slowest.limit_s = 0.0
    desk.answered()
    assert (await desk.read()).requests["flags"].tolist() == [SLOW]
    desk.version.slowest.limit_s = float("inf")
    desk.answered(
        parameters={"degraded": True, "served_by": "version 1", "fallback_reason": "failed: no"}
    )
    chunk = await desk.read()
    assert chunk.requests["flags"].tolist() == [DEGRADED]
    detail = chunk.details[int(chunk.request_places[0])]
    assert (detail.served_by, detail.fallback_reason) == ("version 1", "failed: no")
    assert desk.version.counts.counted == ["answered", "answered", "degraded"]


@desk()
async def test_a_failure_says_why_and_whose_it_was(desk):
    failure = Failure(Call(), ModelFailed("it broke"), 13, time.monotonic())
    failure.request = desk.request()
    failure.version = desk.version
    failure.request_id = "r" * 60
    desk.writer.failed(failure)
    chunk = await desk.read()
    (cell,) = chunk.requests
    assert (cell["status"], REASONS[cell["reason"]], cell["version"]) == (13, "model_failed", 7)
    detail = chunk.details[int(chunk.request_places[0])]
    assert (detail.error, detail.request_id) == ("it broke", "r" * 60)
    assert desk.version.counts.counted == ["model_failed"]


@desk(SamplingPlan(traces=True))
async def test_what_is_told_of_one_request_is_never_anothers_where_the_ring_is_full(desk):
    desk.answered()
    await desk.read()  # the caller has a number from now on
    while (at := desk.ring.offset()) >= 0:
        desk.ring.cells[at] = MORE
    # leaves room for one cell: for the request's event, or for the request
    RingReader(desk.fd, 0).advance(desk.ring.written - CELLS + 1)
    failure = Failure(Call(), ModelFailed("one caller's trouble"), 13, time.monotonic())
    failure.request = desk.request()
    failure.version = desk.version
    desk.writer.failed(failure)
    desk.writer.publish()
    await desk.read_all()
    desk.answered()
    (chunk,) = await desk.read_all()
    assert chunk.requests["status"].tolist() == [0]
    assert not chunk.details


@desk()
async def test_a_request_that_found_no_version_is_the_houses(desk):
    failure = Failure(Call(), InvalidRequest("no"), 3, time.monotonic() - 0.25)
    failure.model = "nobody"
    desk.writer.failed(failure)
    chunk = await desk.read()
    assert chunk.requests["version"].tolist() == [NO_ROW]
    assert chunk.requests["ended_ns"] - chunk.requests["arrived_ns"] >= 250_000_000
    assert chunk.details[int(chunk.request_places[0])].model == "nobody"
    assert desk.global_limit.counted == ["invalid_request"]


@desk()
async def test_of_what_nobody_expected_no_more_is_written_than_its_caller_was_told(desk):
    failure = Failure(
        Call(), ValueError("could not convert string to float: 'a secret'"), 13, time.monotonic()
    )
    failure.request = desk.request()
    failure.version = desk.version
    desk.writer.failed(failure)
    chunk = await desk.read()
    assert chunk.details[int(chunk.request_places[0])].error == "internal error: ValueError"


@desk()
async def test_no_value_of_an_output_is_in_what_was_decided_wherever_a_text_was_cut(desk):
    text = (
        f"output '{'y' * 150}' of model 'm' holds 4711.5 in row 3, at [3, 0]; it must be at most 1"
    )
    for cut in range(len(text)):
        request = desk.request()
        request.add_event(0.5, RETRY, text[:cut])
        desk.answered(
            request=request,
            parameters={"degraded": True, "served_by": "version 1", "fallback_reason": text[:cut]},
        )
    chunk = await desk.read()
    assert len(chunk.details) == len(text)
    assert "47" not in str(
        [(detail.fallback_reason, detail.events[0][2]) for detail in chunk.details.values()]
    )


@desk()
async def test_a_cancelled_call_is_counted_and_gets_no_cell(desk):
    failure = Failure(Call(), asyncio.CancelledError(), 1, time.monotonic())
    failure.request = desk.request()
    failure.version = desk.version
    desk.writer.failed(failure)
    assert len((await desk.read()).requests) == 0
    assert desk.version.counts.counted == ["cancelled"]


@pytest.mark.parametrize("traces", [False, True])
def test_a_context_is_made_once_and_goes_on_with_the_callers(traces):
    async def main():
        made = Desk(SamplingPlan(traces=traces))
        request = made.request(parent())
        part = InferenceRequest(FORM, (), 0.0, parent=request)
        context = made.writer.sampling.context(part)
        assert context is made.writer.sampling.context(request)
        assert (context.trace_id, context.sampled) == (TRACE, True)
        made.answered(request=request)
        chunk = await made.read()
        if traces:
            (cell,) = chunk.requests
            assert cell["flags"] & HAS_IDS
            assert bytes(cell["span_id"]) == context.span_id
        os.close(made.fd)

    asyncio.run(main())


NONE = SamplingPlan(traces=True, ratio=0)
ALL = SamplingPlan(traces=True)
FEW = SamplingPlan(traces=True, ratio=1e-12)
FEW_OF_ANYBODY = SamplingPlan(traces=True, parent_based=False, ratio=1e-12)
NOTHING = SamplingPlan(traces=False, parent_based=False, ratio=0)


@pytest.mark.parametrize(
    ("plan", "metadata", "seen"),
    [
        (FEW, (), KEPT),
        (FEW, (parent(),), SAMPLED),
        (FEW, (parent(sampled=False),), 0),
        (FEW_OF_ANYBODY, (parent(sampled=False),), KEPT),
        (ALL, (), SAMPLED),
        (NONE, (), 0),
        (NONE, (parent(),), SAMPLED),
        (NOTHING, (parent(),), 0),
        (SamplingPlan(), (parent(),), 0),
    ],
)
def test_what_fails_or_is_slow_is_kept_where_the_gateway_begins_traces_and_no_caller_forbids(
    plan, metadata, seen
):
    @desk(plan)
    async def see(desk):
        desk.failed(*metadata)
        desk.version.slowest.limit_s = 0.0
        desk.answered(*metadata)
        assert [flags & (SAMPLED | KEPT) for flags in (await desk.read()).requests["flags"]] == [
            seen,
            seen,
        ]

    see()


@desk(FEW, everything=True)
async def test_an_answer_as_it_should_be_is_not_kept(desk):
    desk.answered()
    assert (await desk.read()).requests["flags"].tolist() == [0]


@pytest.mark.parametrize(("plan", "kept"), [(ALL, 1), (FEW, 1), (NONE, 0), (NOTHING, 0)])
def test_a_failed_batch_is_kept_as_its_requests_would_be(plan, kept):
    @desk(plan)
    async def see(desk):
        desk.batch(desk.request(), error=ModelFailed("it broke"))
        desk.batch(desk.request())
        assert (await desk.read()).batches["kept"].tolist() == [kept, 0]

    see()


@pytest.mark.parametrize(("plan", "links"), [(ALL, 1), (NONE, 1), (NOTHING, 0)])
def test_where_nothing_is_exported_a_callers_sampled_trace_links_no_batch(plan, links):
    @desk(plan)
    async def see(desk):
        request = desk.request(parent())
        desk.batch(request, error=ModelFailed("it broke"))
        assert request.context.sampled
        assert len((await desk.read()).links) == links

    see()


@desk(ALL)
async def test_a_new_plan_holds_for_the_next_request(desk):
    seen = []
    for plan in (ALL, NONE, NOTHING, FEW, ALL):
        desk.writer.sample_by(plan)
        desk.failed()
        seen += [int(flags) & (SAMPLED | KEPT) for flags in (await desk.read()).requests["flags"]]
    assert seen == [SAMPLED, 0, 0, KEPT, SAMPLED]


@desk(NOTHING)
async def test_traces_may_begin_where_there_were_none(desk):
    desk.answered()
    assert len((await desk.read()).requests) == 0
    desk.writer.sample_by(ALL)
    desk.answered()
    assert (await desk.read()).requests["flags"].tolist() == [SAMPLED]


@desk(ALL)
async def test_who_was_told_that_his_trace_is_sampled_is_held_to_it(desk):
    request = desk.request()
    assert desk.writer.sampling.context(request).sampled
    desk.writer.sample_by(NONE)
    desk.answered(request=request)
    assert (await desk.read()).requests["flags"].tolist() == [SAMPLED | HAS_IDS]


@desk()
async def test_a_request_whose_batch_is_run_again_says_so_and_whoever_has_left_does_not(desk):
    staying = desk.request()
    gone = desk.request()
    desk.batch(staying, gone, error=ModelFailed("it broke"), run_again=[staying])
    assert (staying.retries, [text for _, _, text in staying.events]) == (1, ["it broke"])
    assert (gone.retries, gone.events) == (0, ())
