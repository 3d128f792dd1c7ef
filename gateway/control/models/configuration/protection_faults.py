"""What cannot hold together in the configuration of a model's protection.

The main process finds it before it knows the model's graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from gateway.control.models.configuration.admission_configuration import Quota
from gateway.control.models.configuration.protection_configuration import (
    Breaker,
    Fallback,
    Protections,
)
from gateway.control.models.configuration.worker_configuration import Workers

_ROUNDING = 1e-9  # three times 0.333... may come to more than 1


def protection_faults(
    configured: Protections, *, instances: int | None, priority_levels: int
) -> Iterator[str]:
    """A sentence for each contradiction, with its key.

    `instances` and `priority_levels` are as configured.
    """
    yield from _breaker(configured.breaker)
    for i, fallback in enumerate(configured.fallback or ()):
        yield from _fallback(f"fallback[{i}]", fallback)
    yield from _shares(configured.admission.priority_shares, priority_levels)
    if configured.admission.quota is not None:
        yield from _quota(configured.admission.quota)
    if configured.workers is not None:
        yield from _workers(configured.workers, instances)
    yield from _remotes(configured)


def _breaker(configured: Breaker) -> Iterator[str]:
    if (
        configured.enabled is not False
        and configured.consecutive_failures == 0
        and configured.failure_rate == 0
    ):
        yield (
            "breaker.consecutive_failures and breaker.failure_rate are both 0, so that it "
            "never opens: use `breaker: off`"
        )


def _fallback(key: str, configured: Fallback) -> Iterator[str]:
    kinds = ("version", "model", "constant", "function", "cache")
    named = [kind for kind in kinds if getattr(configured, kind) is not None]
    if len(named) != 1:
        yield f"{key} must set one of {', '.join(kinds)}" + (
            f", not {' and '.join(named)}" if named else ""
        )
    if configured.cache is not None and configured.cache.max_bytes == 0:
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


def _quota(configured: Quota) -> Iterator[str]:
    if configured.burst is not None and 0 < configured.burst < 1:
        yield (
            f"admission.quota.burst is {configured.burst:g}, and a request costs "
            "1: no caller would be let in"
        )


def _workers(configured: Workers, instances: int | None) -> Iterator[str]:
    if configured.kind == "thread":
        idle = [
            f.encode_name
            for f in msgspec.structs.fields(configured)
            if f.name != "kind" and getattr(configured, f.name) is not None
        ]
        yield from (f"workers.{name} is for kind process, not thread" for name in idle)
    elif None not in (configured.count, instances) and configured.count != instances:
        yield (
            f"workers.count is {configured.count} and instances is {instances}, but a worker "
            "process runs one batch at a time: set one of them"
        )


def _remotes(configured: Protections) -> Iterator[str]:
    addresses = Counter(remote.address for remote in configured.remotes or ())
    yield from (
        f"remotes: '{address}' is listed {n} times" for address, n in addresses.items() if n > 1
    )
    if configured.local is False and not configured.remotes:
        yield "local is false and there are no remotes: nothing would run the model"
    if configured.local is False and configured.workers is not None:
        yield (
            "local is false, so that nothing runs here, and workers sets what "
            "runs it here: set one of them"
        )
