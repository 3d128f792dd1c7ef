"""How a version is protected, and what runs it, in a few words for the command line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import asdict, fields

from gateway.config.quantities import format_bytes, format_duration
from gateway.core.plan import BatchingPlan, VersionPlan
from gateway.core.protection import (
    AdmissionPlan,
    BreakerPlan,
    FallbackLink,
    OutputGuardPlan,
    ProtectionPlan,
    RetryPlan,
)


def protection_text(plan: ProtectionPlan) -> str:
    """What of the protection deviates from the defaults, in one line; empty: nothing does."""
    return "; ".join([
        *_breaker(plan.breaker),
        *_retry(plan.retry),
        *(["fallback: " + ", ".join(map(_link, plan.fallback))] if plan.fallback else []),
        *_guard(plan.output_guard),
        *_admission(plan.admission),
    ])  # fmt: skip


def runs_text(plan: VersionPlan) -> str:
    """Where the version's batches run, and how many at a time, in one line."""
    return "; ".join(
        [local_text(plan)] * plan.protection.local
        + [f"remote: {remote}" for remote in remote_texts(plan)]
    )


def local_text(plan: VersionPlan) -> str:
    """How the gateway itself runs the version's batches."""
    threads = (
        f"{count(plan.session.intra_op_threads, 'thread')} each, by "
        f"{', '.join(plan.session.providers)}"
    )
    workers = plan.protection.workers
    if workers is None:
        return (
            f"{_where(plan.batching)}; at most {plan.instances} at a time in one process, {threads}"
        )
    limit = (
        f", replaced at {format_bytes(workers.memory_limit_bytes)}"
        if workers.memory_limit_bytes
        else ""
    )
    return (
        f"in {count(workers.count, 'worker process', 'worker processes')} of each "
        f"serving process, {threads}{limit}"
    )


def remote_texts(plan: VersionPlan) -> list[str]:
    """The remote servers that run the version's batches, one text each."""
    texts = []
    for remote in plan.protection.remotes:
        as_ = " ".join(filter(None, (remote.model, remote.version and f"version {remote.version}")))
        how = f"{'TLS' if remote.tls_ca else 'plaintext'}{' with a token' if remote.token else ''}"
        batches = count(remote.concurrent_batches, "batch", "batches")
        texts.append(
            f"{remote.address}{f' as {as_}' if as_ else ''}, at most {batches} at a time, {how}"
        )
    return texts


def protection_json(plan: ProtectionPlan) -> dict[str, Any]:
    """The plan as JSON for programs, without the tokens."""
    remotes = [
        {**asdict(remote), "tls_ca": bool(remote.tls_ca), "token": bool(remote.token)}
        for remote in plan.remotes
    ]
    shown: dict[str, Any] = _plain({**asdict(plan), "remotes": remotes})
    return shown


def count(number: int, one: str, many: str = "") -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _plain(value: Any) -> Any:
    """The value as JSON can have it, which has neither sets nor infinity."""
    if isinstance(value, msgspec.Struct):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _where(batching: BatchingPlan) -> str:
    on_loop = batching.loop_batch_size
    if on_loop == 0:
        return "in threads"
    return (
        "on the event loop"
        if on_loop >= batching.max_batch_size
        else f"on the event loop up to {count(on_loop, 'row')}, in threads beyond"
    )


def _breaker(plan: BreakerPlan) -> Iterator[str]:
    if not plan.enabled:
        yield "breaker off"
    elif changed := _changed(plan, BreakerPlan()):
        yield f"breaker: {changed}"


def _retry(plan: RetryPlan) -> Iterator[str]:
    if plan.attempts == 1:
        yield "no retries"
    elif changed := _changed(plan, RetryPlan()):
        yield f"retry: {changed}"


def _changed(plan: Any, default: Any) -> str:
    """The fields that differ, by the names that model.yaml has for them."""
    changed = {
        field.name: getattr(plan, field.name)
        for field in fields(plan)
        if getattr(plan, field.name) != getattr(default, field.name)
    }
    return ", ".join(
        f"{name.removesuffix('_s')} {format_duration(value) if name.endswith('_s') else value}"
        for name, value in changed.items()
    )


def _link(link: FallbackLink) -> str:
    on = f" on {'/'.join(sorted(link.errors))}" if link.errors != FallbackLink().errors else ""
    slack = f" with {format_duration(link.minimum_slack_s)} left" if link.minimum_slack_s else ""
    return (
        f"{link.name}{f' {format_duration(link.cache_age_s)}' if link.cache_age_s else ''}"
        f"{on}{slack}"
    )


def _guard(plan: OutputGuardPlan) -> Iterator[str]:
    if plan.finite:
        yield f"finite: {', '.join(plan.finite)}"
    yield from (f"{name} from {low:g} to {high:g}" for name, (low, high) in plan.ranges.items())


def _admission(plan: AdmissionPlan) -> Iterator[str]:
    if plan.max_in_flight:
        yield f"at most {count(plan.max_in_flight, 'request')} in flight"
    if plan.max_in_flight_bytes:
        yield f"at most {format_bytes(plan.max_in_flight_bytes)} in flight"
    if plan.default_deadline_s:
        yield f"deadline {format_duration(plan.default_deadline_s)} where none comes"
    if not plan.predict_wait:
        yield "waits are not predicted"
    if plan.priority_shares:
        yield f"priority shares {', '.join(f'{share:g}' for share in plan.priority_shares)}"
    if plan.quota_key:
        saved = f", {plan.quota_burst:g} saved up" if plan.quota_burst else ""
        yield f"{plan.quota_per_s:g} a second for each {plan.quota_key}{saved}"
