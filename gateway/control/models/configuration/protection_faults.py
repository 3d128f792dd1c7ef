"""What cannot hold together in what is said of a model's protection, whatever its graph is like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from gateway.control.models.configuration.protection_configuration import (
    Breaker,
    Fallback,
    Protections,
    Quota,
    Workers,
)

_ROUNDING = 1e-9  # three times 0.333... may come to more than 1


def protection_faults(
    said: Protections, *, instances: int | None, priority_levels: int
) -> Iterator[str]:
    """One sentence each, with its key.

    `instances` and `priority_levels`: what is configured of them.
    """
    yield from _breaker(said.breaker)
    for i, fallback in enumerate(said.fallback or ()):
        yield from _fallback(f"fallback[{i}]", fallback)
    yield from _shares(said.admission.priority_shares, priority_levels)
    if said.admission.quota is not None:
        yield from _quota(said.admission.quota)
    if said.workers is not None:
        yield from _workers(said.workers, instances)
    yield from _remotes(said)


def _breaker(said: Breaker) -> Iterator[str]:
    if said.enabled is not False and said.consecutive_failures == 0 and said.failure_rate == 0:
        yield (
            "breaker.consecutive_failures and breaker.failure_rate are both 0, so that it "
            "never opens: say `breaker: off`"
        )


def _fallback(key: str, said: Fallback) -> Iterator[str]:
    kinds = ("version", "model", "constant", "function", "cache")
    named = [kind for kind in kinds if getattr(said, kind) is not None]
    if len(named) != 1:
        yield f"{key} must say one of {', '.join(kinds)}" + (
            f", not {' and '.join(named)}" if named else ""
        )
    if said.cache is not None and said.cache.max_bytes == 0:
        yield f"{key}.cache.max_bytes must not be 0B: there is no endless cache"


def _shares(shares: tuple[float, ...] | None, levels: int) -> Iterator[str]:
    if not shares:
        return
    if len(shares) != levels:
        yield (
            f"admission.priority_shares has {len(shares)} shares, but queue.priority_levels is "
            f"{levels}: each level has one"
        )
    if sum(shares) > 1 + _ROUNDING:
        yield f"admission.priority_shares come to {sum(shares):g}, which is more than 1"


def _quota(said: Quota) -> Iterator[str]:
    if said.burst is not None and 0 < said.burst < 1:
        yield (
            f"admission.quota.burst is {said.burst:g}, and a request costs "
            "1: no caller would be let in"
        )


def _workers(said: Workers, instances: int | None) -> Iterator[str]:
    if said.kind == "thread":
        idle = [
            f.encode_name
            for f in msgspec.structs.fields(said)
            if f.name != "kind" and getattr(said, f.name) is not None
        ]
        yield from (f"workers.{name} is for kind process, not thread" for name in idle)
    elif None not in (said.count, instances) and said.count != instances:
        yield (
            f"workers.count is {said.count} and instances is {instances}, but a worker process "
            "runs one batch at a time: say one of them"
        )


def _remotes(said: Protections) -> Iterator[str]:
    addresses = Counter(remote.address for remote in said.remotes or ())
    yield from (
        f"remotes: '{address}' is listed {n} times" for address, n in addresses.items() if n > 1
    )
    if said.local is False and not said.remotes:
        yield "local is false and there are no remotes: nothing would run the model"
    if said.local is False and said.workers is not None:
        yield (
            "local is false, so that nothing runs here, and workers says what "
            "runs it here: say one of them"
        )
