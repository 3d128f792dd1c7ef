"""A caller's trace context, as W3C writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.span_context import SpanContext, parse_traceparent, span_context_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
ids = st.binary(min_size=16, max_size=16).filter(any), st.binary(min_size=8, max_size=8).filter(any)


@given(ids[0], ids[1], st.booleans())
def test_what_is_passed_on_is_read_as_the_same(trace_id, span_id, sampled):
    context = SpanContext(trace_id, span_id, sampled)
    assert parse_traceparent(context.traceparent()) == context


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_only_the_last_bit_of_the_flags_says_sampled(flags, sampled):
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}").sampled is sampled


def test_a_later_version_may_say_more():
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings") == SpanContext(
        bytes.fromhex(TRACE), bytes.fromhex(SPAN), True
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_no_context_is_as_good_as_none(text):
    assert parse_traceparent(text) is None


@given(st.text(max_size=80))
def test_no_text_raises(text):
    parse_traceparent(text)


def test_the_state_of_several_headers_is_one_and_too_long_a_one_is_let_go():
    parent = ("traceparent", f"00-{TRACE}-{SPAN}-01")
    assert (
        span_context_of([("tracestate", "a=1"), parent, ("tracestate", "b=2")]).tracestate
        == "a=1,b=2"
    )
    assert span_context_of([parent, ("tracestate", "x" * 513)]).tracestate == ""
    assert span_context_of([("tracestate", "a=1")]) is None


def test_the_state_travels_with_the_span():
    context = SpanContext(bytes.fromhex(TRACE), bytes.fromhex(SPAN), True, "a=1")
    assert context.metadata() == (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1"))
