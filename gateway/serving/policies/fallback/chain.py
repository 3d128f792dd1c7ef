"""Makes a version's fallback chain in a serving process, as its plan says."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.plan import VersionPlan
from gateway.core.predictor import Predictor
from gateway.core.protection import FallbackLink
from gateway.serving.policies.fallback.fallback import Fallback, Link
from gateway.serving.policies.fallback.last_answer import LastAnswers, Remembered
from gateway.serving.policies.fallback.links import CachedAnswer, ConstantAnswer, FunctionAnswer
from gateway.serving.policies.fallback.other_version import OtherVersion, Resolver


def with_fallback(
    inner: Predictor, plan: VersionPlan, resolver: Resolver, now: Callable[[], float]
) -> Predictor:
    """`inner` behind its version's chain, or as it is where there is none.

    Raises ValueError where a link cannot be made.

    Functions are imported here, which takes as long as they like.
    """
    links: list[Link] = []
    for place, link in enumerate(plan.protection.fallback, 1):
        # the chain is the model's: what this version cannot answer it will not answer now
        if link.version == plan.version:
            continue
        try:
            if link.cache_age_s:
                cache = LastAnswers(link.cache_bytes, link.cache_age_s, now)
                inner = Remembered(inner, cache)
                links.append(CachedAnswer(link, cache))
            else:
                links.append(_made(link, plan, resolver))
        except ValueError as error:
            raise ValueError(f"fallback {place} ({link.name}): {error}") from None
    return Fallback(inner, links, plan, now) if links else inner


def _made(link: FallbackLink, plan: VersionPlan, resolver: Resolver) -> Link:
    if link.version or link.model:
        return OtherVersion(plan, link, resolver)
    return ConstantAnswer(plan, link) if link.constant is not None else FunctionAnswer(plan, link)
