"""Which requests of a serving process are exported, and under which ids.

The journal asks when a request has ended; the encoder of errors and calls to other servers ask
before that, for its context. What was decided for a request holds to its end.
"""

from __future__ import annotations

import os

from gateway.core.request import InferenceRequest
from gateway.core.span_context import SpanContext, span_context_of
from gateway.records.cells import HAS_IDS, HAS_PARENT, KEPT, REFUSED_SAMPLING, SAMPLED
from gateway.records.sampling import (
    NO_PARENT,
    PARENT_NOT_SAMPLED,
    PARENT_SAMPLED,
    Sampler,
    SamplingPlan,
)


class RequestSampling:
    """Decides by one plan; a changed plan gets another one of these."""

    __slots__ = ("_sampler", "traces")

    def __init__(self, plan: SamplingPlan) -> None:
        self._sampler = Sampler(plan)
        self.traces = plan.traces

    def exports(self, context: SpanContext) -> bool:
        """Whether a span of this context is exported.

        Without traces nothing is: a caller's sampled context is passed on, and no more.
        """
        return self.traces and context.sampled

    @property
    def keeps_failures(self) -> bool:
        """Whether what fails is exported, sampled or not, where no caller forbids it."""
        return self._sampler.keeps_notable()

    def context(self, request: InferenceRequest) -> SpanContext:
        """The context of the request's own span, made when it is first asked for."""
        request = request.parent or request
        if request.context is None:
            caller = request.caller
            parent = span_context_of(caller.metadata()) if caller is not None else None
            ids = os.urandom(24)
            sampled = self._sampled(parent)
            if parent is None:
                request.context = SpanContext(ids[:16], ids[16:], sampled)
            else:
                # without traces the caller's decision is passed on as it is
                decision = sampled if self.traces else parent.sampled
                request.context = SpanContext(
                    parent.trace_id, ids[16:], decision, parent.tracestate
                )
        return request.context

    def flags(
        self, request: InferenceRequest | None, parent: SpanContext | None, *, notable: bool
    ) -> int:
        """The flags of its cell that say whether it is exported and what is known of its trace.

        `notable`: it failed, was degraded or slow, so it may be kept although it was not sampled.
        """
        if parent is None:
            flags = 0
            choice = NO_PARENT
        elif parent.sampled:
            flags = HAS_PARENT
            choice = PARENT_SAMPLED
        else:
            flags = HAS_PARENT | REFUSED_SAMPLING
            choice = PARENT_NOT_SAMPLED
        own = request.context if request is not None else None
        if own is not None:
            flags |= HAS_IDS
            sampled = self.traces and own.sampled
        else:
            sampled = self._sampler.sampled(choice, parent.trace_id if parent is not None else b"")
        if sampled:
            flags |= SAMPLED
        elif notable and self._sampler.keeps_notable(choice):
            flags |= KEPT
        return flags

    def _sampled(self, parent: SpanContext | None) -> bool:
        if parent is None:
            return self._sampler.sampled(NO_PARENT)
        choice = PARENT_SAMPLED if parent.sampled else PARENT_NOT_SAMPLED
        return self._sampler.sampled(choice, parent.trace_id)

    def __repr__(self) -> str:
        return f"<RequestSampling {self._sampler.plan}>"
