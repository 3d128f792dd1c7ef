"""Which fallbacks have nobody to answer, by what is live; looked at in the control process."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from gateway.core.name_list import listed
from gateway.core.plan import Key, VersionPlan
from gateway.core.protection import FallbackLink
from gateway.records.breaker_state import BreakerKey

log = logging.getLogger(__name__)


class FallbackCheck:
    """Warns once of each fallback on a model that is not live."""

    def __init__(self) -> None:
        self._warned: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<FallbackCheck {len(self._warned)} fallbacks without a target>"

    def warn(self, live: Mapping[Key, VersionPlan]) -> None:
        """Called when the models are as the repository wants them."""
        found = frozenset(text for plan in live.values() for text in _missing(plan, live))
        for text in sorted(found - self._warned):
            log.warning("%s", text)
        self._warned = found


def unanswered(live: Mapping[Key, VersionPlan], keys: Iterable[BreakerKey]) -> tuple[str, ...]:
    """A sentence for each version whose requests nobody answers once its breaker is forced open."""
    plans = [live[key[:2]] for key in keys if not key[2] and key[:2] in live]
    return tuple(
        f"nobody answers requests for '{plan.model}' version {plan.version} while its circuit "
        f"breaker is forced open: {_why_none(plan)}; --automatic lets the breaker decide again"
        for plan in plans
        if not any(_answers(link, plan, live) for link in plan.protection.fallback)
    )


def _answers(link: FallbackLink, plan: VersionPlan, live: Mapping[Key, VersionPlan]) -> bool:
    return "unavailable" in link.errors and _has_target(link, plan, live)


def _why_none(plan: VersionPlan) -> str:
    if not plan.protection.fallback:
        return "it has no fallback"
    return "none of its fallbacks can"


def _missing(plan: VersionPlan, live: Mapping[Key, VersionPlan]) -> Iterator[str]:
    """Fallbacks on other models; of other versions the plan itself warns."""
    models = sorted({model for model, _ in live})
    for i, link in enumerate(plan.protection.fallback):
        if link.model and link.model not in models:
            yield (
                f"'{plan.model}' version {plan.version}: fallback[{i}] is {link.name}, which is "
                f"not live and cannot answer (live: {listed(models)})"
            )


def _has_target(link: FallbackLink, plan: VersionPlan, live: Mapping[Key, VersionPlan]) -> bool:
    """There are three cases: another model, another version, or what needs neither."""
    if link.model:
        return any(model == link.model for model, _ in live)
    if link.version > 0:
        return (plan.model, link.version) in live
    if link.version < 0:
        return any(model == plan.model and version != plan.version for model, version in live)
    return True
