"""All circuit breakers of a serving process, by what they guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.core.protection import BreakerPlan
from gateway.records.breaker_state import BreakerKey, Forced, Report, Transition
from gateway.serving.policies.breaker.circuit_breaker import CircuitBreaker


class BreakerRegistry:
    """Makes circuit breakers, and keeps all of one key as an operator has set them.

    There may be two of one key: while a version is loaded anew, the old one still answers when the
    new one is made.
    """

    def __init__(self, now: Callable[[], float], on_event: Callable[[Transition], None]) -> None:
        self._now = now
        self._on_event = on_event
        self._breakers: dict[BreakerKey, list[CircuitBreaker]] = {}
        self._forced: Mapping[BreakerKey, Forced] = {}

    def add(self, key: BreakerKey, plan: BreakerPlan) -> CircuitBreaker:
        """A new circuit breaker, forced as its key is."""
        breaker = CircuitBreaker(_name(key), plan, self._now, self._on_event)
        breaker.key = key
        breaker.force(self._forced.get(key, ""))
        self._breakers.setdefault(key, []).append(breaker)
        return breaker

    def remove(self, key: BreakerKey, breaker: CircuitBreaker) -> None:
        """Removes a circuit breaker whose version or instance is gone."""
        of_key = self._breakers[key]
        of_key.remove(breaker)
        if not of_key:
            del self._breakers[key]

    def force(self, forced: Mapping[BreakerKey, Forced]) -> None:
        """What operators have set, all of it: what is not named decides for itself.

        Holds for those to come as well.
        """
        self._forced = forced
        for key, breakers in self._breakers.items():
            for breaker in breakers:
                breaker.force(forced.get(key, ""))

    def snapshots(self) -> Report:
        """One of each key, sorted: of the older circuit breaker, where there are two."""
        return tuple((key, self._breakers[key][0].snapshot()) for key in sorted(self._breakers))

    def __repr__(self) -> str:
        open_ones = [
            breaker.name
            for breakers in self._breakers.values()
            for breaker in breakers
            if not breaker.closed
        ]
        return (
            f"<BreakerRegistry {len(self._breakers)}, not closed: {', '.join(open_ones) or 'none'}>"
        )


def _name(key: BreakerKey) -> str:
    model, version, instance = key
    return f"'{model}' version {version}{f' on {instance}' if instance else ''}"
