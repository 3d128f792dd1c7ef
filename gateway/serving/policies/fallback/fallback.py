"""What answers in a version's place when it cannot: the links of its chain, one after the other.

A layer of a version's stack in every serving process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.core.errors import CircuitBreakerOpen, GatewayError
from gateway.core.plan import VersionPlan
from gateway.core.predictor import Description, Predictor
from gateway.core.protection import FallbackLink
from gateway.core.request import (
    BREAKER_REFUSED,
    FALLBACK,
    FALLBACK_FAILED,
    InferenceRequest,
    Prediction,
)
from gateway.logs.rate_limit import RateLimitedLog

_log = logging.getLogger(__name__)

_REASON_LENGTH: Final = 200


class LinkFailed(Exception):
    """A link of a chain has no answer, and why."""


class Link(Protocol):
    """Something that may answer in a version's place."""

    @property
    def plan(self) -> FallbackLink:
        """What was configured."""
        ...

    async def answer(self, request: InferenceRequest) -> Prediction:
        """The answer to a request for the version, whose parameters have `served_by`.

        Raises LinkFailed or GatewayError where there is none.
        """
        ...


def next_link(kind: str, links: Sequence[FallbackLink], start: int, slack_s: float) -> int | None:
    """Index of the first link from `start` on that answers errors of this kind and has time to.

    None where none is left.

    `slack_s` is the time until the caller's deadline: where it is over, nobody waits for an answer.
    """
    if slack_s <= 0:
        return None
    return next(
        (
            i
            for i in range(start, len(links))
            if kind in links[i].errors and slack_s >= links[i].minimum_slack_s
        ),
        None,
    )


class Fallback:
    """A Predictor that asks `inner`, and where that fails the links.

    Where they fail too, the caller is given the first error, `inner`'s.

    `now` is the clock of the requests' deadlines.
    """

    def __init__(
        self, inner: Predictor, links: Sequence[Link], plan: VersionPlan, now: Callable[[], float]
    ) -> None:
        self._inner = inner
        self._links = tuple(links)
        self._plan = plan
        self._now = now
        self._plans = tuple(link.plan for link in self._links)
        self._subject = f"'{plan.model}' version {plan.version}"
        self._log = RateLimitedLog(_log)
        self._used = 0
        self._exhausted = 0

    async def predict(self, request: InferenceRequest) -> Prediction:
        """The inside's answer or a link's; raises what the inside raised."""
        try:
            return await self._inner.predict(request)
        except GatewayError as error:
            first = error
        try:  # not inside the except: the errors of links would each be chained to the first
            reason = one_line(first)
            if isinstance(first, CircuitBreakerOpen):
                request.add_event(self._now(), BREAKER_REFUSED, reason)
            answer = await self._degraded(request, first.fallback_kind, reason)
            if answer is None:
                raise first
            return answer
        finally:
            del first  # its traceback holds this frame

    async def _degraded(
        self, request: InferenceRequest, kind: str, reason: str
    ) -> Prediction | None:
        index = 0
        failed = False
        while (
            found := next_link(kind, self._plans, index, request.deadline - (asked := self._now()))
        ) is not None:
            try:
                answer = await self._links[found].answer(request)
            except Exception as error:  # noqa: BLE001
                # whatever it is, the caller is to have the first error
                request.add_event(
                    asked, FALLBACK_FAILED, f"{self._plans[found].name}: {one_line(error)}"
                )
                self._link_failed(found, kind, reason, error)
                index = found + 1
                failed = True
            else:
                request.add_event(asked, FALLBACK, self._plans[found].name)
                return self._signed(answer, kind, reason)
        self._exhausted += failed
        return None

    def _signed(self, answer: Prediction, kind: str, reason: str) -> Prediction:
        served_by = str((answer.parameters or {})["served_by"])
        why = f"{kind}: {reason}"
        parameters = {**(answer.parameters or {}), "degraded": True, "fallback_reason": why}
        self._used += 1
        text = f"a request for {self._subject} was answered by its fallback, {served_by}; {why}"
        self._log.warning(
            "used", text, f"requests for {self._subject} were answered by its fallback"
        )
        signed = Prediction(answer.outputs, parameters)
        signed.degraded = why
        return signed

    def _link_failed(self, index: int, kind: str, reason: str, error: Exception) -> None:
        # What a link says by itself needs no traceback; what a function
        # raised, or nobody expected, does.
        cause = error.__cause__ if isinstance(error, LinkFailed | GatewayError) else error
        name = self._plans[index].name
        text = (
            f"{name}, fallback of {self._subject}, failed: {one_line(error)}; it was "
            f"called because of {kind}: {reason}"
        )
        self._log.warning("failed", text, f"links of the fallback of {self._subject} failed", cause)

    def describe(self) -> Description:
        """The links in their order, and the inside."""
        return Description(
            "Fallback", ", then ".join(plan.name for plan in self._plans), self._inner.describe()
        )

    def __repr__(self) -> str:
        return (
            f"<Fallback {self._plan.model} {self._plan.version}: {self._used} answered by "
            f"links, {self._exhausted} by none>"
        )


def one_line(error: BaseException) -> str:
    """The error's text in one line, cut to 200 characters that UTF-8 has."""
    text = (
        " ".join(str(error)[: 4 * _REASON_LENGTH].split())[:_REASON_LENGTH] or type(error).__name__
    )
    return text.encode(errors="replace").decode()
