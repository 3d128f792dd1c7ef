"""Which flags a request's cell gets, and the context of its span."""

import pytest

from gateway.core.request import InferenceRequest, RequestForm
from gateway.core.span_context import SpanContext
from gateway.records.cells import HAS_IDS, HAS_PARENT, KEPT, REFUSED_SAMPLING, SAMPLED
from gateway.records.request_sampling import RequestSampling
from gateway.records.sampling import SamplingPlan

FORM = RequestForm(names=(), key=(), rows=1, input_bytes=0, outputs=(), parameters={})
YES = SpanContext(bytes(range(16)), bytes(range(8)), sampled=True, tracestate="a=1")
NO = YES._replace(sampled=False)

OFF = SamplingPlan()
ALL = SamplingPlan(traces=True)
NONE = SamplingPlan(traces=True, ratio=0)
FEW = SamplingPlan(traces=True, ratio=1e-12)
FEW_OF_ANYBODY = SamplingPlan(traces=True, ratio=1e-12, parent_based=False)


class Call:
    def __init__(self, parent):
        self._parent = parent

    def metadata(self):
        return () if self._parent is None else self._parent.metadata()

    def peer(self):
        return ""


def request_of(parent):
    request = InferenceRequest(FORM, (), 0.0)
    request.caller = Call(parent)
    return request


@pytest.mark.parametrize(
    ("plan", "parent", "as_it_should_be", "notable"),
    [
        (OFF, None, 0, 0),
        (OFF, YES, HAS_PARENT, HAS_PARENT),
        (ALL, None, SAMPLED, SAMPLED),
        (ALL, NO, HAS_PARENT | REFUSED_SAMPLING, HAS_PARENT | REFUSED_SAMPLING),
        (NONE, None, 0, 0),
        (NONE, YES, HAS_PARENT | SAMPLED, HAS_PARENT | SAMPLED),
        (FEW, None, 0, KEPT),
        (FEW, YES, HAS_PARENT | SAMPLED, HAS_PARENT | SAMPLED),
        (FEW, NO, HAS_PARENT | REFUSED_SAMPLING, HAS_PARENT | REFUSED_SAMPLING),
        (
            FEW_OF_ANYBODY,
            NO,
            HAS_PARENT | REFUSED_SAMPLING,
            HAS_PARENT | REFUSED_SAMPLING | KEPT,
        ),
    ],
)
def test_flags_by_plan_and_caller(plan, parent, as_it_should_be, notable):
    sampling = RequestSampling(plan)
    for request in (None, request_of(parent)):
        assert sampling.flags(request, parent, notable=False) == as_it_should_be
        assert sampling.flags(request, parent, notable=True) == notable


@pytest.mark.parametrize(("later", "sampled"), [(NONE, SAMPLED), (OFF, 0)])
def test_a_decision_holds_after_the_plan_has_changed_as_long_as_there_are_traces(later, sampled):
    request = request_of(None)
    RequestSampling(ALL).context(request)
    assert RequestSampling(later).flags(request, None, notable=False) == HAS_IDS | sampled


@pytest.mark.parametrize(
    ("plan", "parent", "sampled"),
    [(ALL, None, True), (OFF, None, False), (NONE, YES, True), (OFF, YES, True), (ALL, NO, False)],
)
def test_a_context_goes_on_with_the_callers_trace_and_is_a_span_of_its_own(plan, parent, sampled):
    context = RequestSampling(plan).context(request_of(parent))
    assert context.sampled is sampled
    assert len(context.span_id) == 8
    if parent is not None:
        assert (context.trace_id, context.tracestate) == (parent.trace_id, parent.tracestate)
        assert context.span_id != parent.span_id


def test_a_part_has_the_context_of_its_request():
    sampling = RequestSampling(ALL)
    request = request_of(YES)
    part = InferenceRequest(FORM, (), 0.0, parent=request)
    assert sampling.context(part) is sampling.context(request)


@pytest.mark.parametrize(
    ("plan", "exported"), [(ALL, True), (NONE, True), (FEW_OF_ANYBODY, True), (OFF, False)]
)
def test_a_sampled_context_is_exported_only_where_there_are_traces(plan, exported):
    sampling = RequestSampling(plan)
    assert sampling.exports(YES) is exported
    assert not sampling.exports(NO)


@pytest.mark.parametrize(("plan", "keeps"), [(ALL, True), (FEW, True), (NONE, False), (OFF, False)])
def test_failures_are_kept_where_the_gateway_begins_traces(plan, keeps):
    assert RequestSampling(plan).keeps_failures is keeps
