"""How a version is protected, planned in the control process.

What is configured is checked against the version's outputs and the versions beside it. Two things
are read besides: the certificate files of remotes, and the environment variables of their tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from gateway.control.models.configuration.admission_configuration import Admission
from gateway.control.models.configuration.protection_configuration import Fallback
from gateway.control.models.configuration.worker_configuration import Remote, Workers
from gateway.control.models.planning.constant_answer import constant_faults
from gateway.control.models.planning.given_values import given_values
from gateway.control.models.planning.output_guard_plan import plan_output_guard
from gateway.control.models.sources.found import FoundModel
from gateway.control.models.sources.sidecars import inside
from gateway.core.plan import TensorSpec
from gateway.core.protection import (
    AdmissionPlan,
    BreakerPlan,
    FallbackLink,
    ProcessWorkersPlan,
    ProtectionPlan,
    RemotePlan,
    RetryPlan,
)
from gateway.onnx.model_faults import PlanFault


def plan_protection(
    model: FoundModel,
    version: int,
    outputs: Sequence[TensorSpec],
    *,
    batched: bool,
    instances: int,
    environment: Mapping[str, str] = os.environ,
) -> tuple[ProtectionPlan, tuple[str, ...]]:
    """All protections of the version, and warnings; raises `PlanFault` with all that is wrong."""
    configured = model.configuration
    faults = list[str]()
    plan = ProtectionPlan(
        breaker=replace(BreakerPlan(), **given_values(configured.breaker)),
        retry=replace(RetryPlan(), **given_values(configured.retry)),
        fallback=_links(configured.fallback or (), version),
        output_guard=plan_output_guard(configured.output_guard, outputs, faults),
        admission=_admission(configured.admission),
        workers=_workers(configured.workers, instances),
        remotes=_remotes(model, environment, faults),
        local=configured.local is not False,
    )
    faults.extend(_fallback_faults(model, outputs, batched=batched))
    if faults:
        raise PlanFault("; ".join(faults))
    return plan, (*_idle_fallbacks(model, version), *_bare_tokens(configured.remotes or ()))


def _links(fallbacks: Sequence[Fallback], version: int) -> tuple[FallbackLink, ...]:
    """The chain of a version: those live together share one, and each leaves itself out."""
    return tuple(_link(fallback) for fallback in fallbacks if fallback.version != version)


def _link(configured: Fallback) -> FallbackLink:
    link = replace(
        FallbackLink(),
        **given_values(configured, "version", "cache", "on"),
        version=int(configured.version or 0),
    )
    if configured.on is not None:
        link = replace(link, errors=frozenset(configured.on))
    if configured.cache is None:
        return link
    return replace(
        link,
        cache_age_s=float(configured.cache.max_age_s),
        cache_bytes=link.cache_bytes
        if configured.cache.max_bytes is None
        else int(configured.cache.max_bytes),
    )


def _fallback_faults(
    model: FoundModel, outputs: Sequence[TensorSpec], *, batched: bool
) -> Iterator[str]:
    for i, configured in enumerate(model.configuration.fallback or ()):
        key = f"fallback[{i}]"
        if configured.model == model.name:
            yield f"{key}.model is this model itself: name another version of it with `version`"
        if configured.constant is not None:
            yield from constant_faults(
                f"{key}.constant", configured.constant, outputs, batched=batched
            )


def _idle_fallbacks(model: FoundModel, version: int) -> Iterator[str]:
    """A warning for each fallback that cannot answer at present; versions may still come."""
    there, live = ({one.version for one in versions} for versions in (model.versions, model.live))
    fallbacks = model.configuration.fallback or ()
    for i, configured in enumerate(fallbacks):
        key = f"fallback[{i}].version"
        named = configured.version or 0
        if named == -1 and live <= {version}:
            yield (
                f"{key} is other, and no other version is live under the "
                f"version policy, {model.policy!r}"
            )
        elif named > 0 and named not in there:
            yield f"{key} {named} is not there"
        elif named > 0 and named not in live:
            yield f"{key} {named} is not live under the version policy, {model.policy!r}"
        elif named == version and live <= {version}:
            yield f"{key} {named} is this version itself, and no other is live"
        before = next(
            (j for j in range(i) if _answers_everything_of(fallbacks[j], configured)), None
        )
        if before is not None:
            yield (
                f"fallback[{i}] is never tried: fallback[{before}] is a constant, which "
                "answers whatever comes to it"
            )


def _answers_everything_of(first: Fallback, second: Fallback) -> bool:
    return (
        first.constant is not None
        and not first.minimum_slack_s
        and _link(second).errors <= _link(first).errors
    )


def _admission(configured: Admission) -> AdmissionPlan:
    plan = replace(AdmissionPlan(), **given_values(configured, "quota"))
    if configured.quota is None:
        return plan
    # below one request a second, a second's worth would never come to a whole request
    least = 1.0 if configured.quota.per_second < 1 else 0.0
    return replace(
        plan,
        quota_key=str(configured.quota.key),
        quota_per_s=configured.quota.per_second,
        quota_burst=configured.quota.burst or least,
    )


def _workers(configured: Workers | None, instances: int) -> ProcessWorkersPlan | None:
    if configured is None or configured.kind == "thread":
        return None
    return replace(ProcessWorkersPlan(), **{"count": instances, **given_values(configured, "kind")})


def _remotes(
    model: FoundModel, environment: Mapping[str, str], faults: list[str]
) -> tuple[RemotePlan, ...]:
    return tuple(
        _remote(f"remotes[{i}]", remote, model, environment, faults)
        for i, remote in enumerate(model.configuration.remotes or ())
    )


def _remote(
    key: str,
    configured: Remote,
    model: FoundModel,
    environment: Mapping[str, str],
    faults: list[str],
) -> RemotePlan:
    plan = replace(
        RemotePlan(str(configured.address)),
        **given_values(configured, "address", "version", "tls_ca", "token_env"),
        version=str(configured.version or ""),
    )
    try:
        if configured.tls_ca is not None:
            plan = replace(plan, tls_ca=_certificates(model, configured.tls_ca))
    except ValueError as fault:
        faults.append(f"{key}.tls_ca: {fault}")
    try:
        if configured.token_env is not None:
            plan = replace(plan, token=_token(configured.token_env, environment))
    except ValueError as fault:
        faults.append(f"{key}.token_env: {fault}")
    return plan


def _certificates(model: FoundModel, name: str) -> bytes:
    """The content of a certificate file in the model's folder.

    Raises ValueError where it cannot be read or holds no certificate.
    """
    try:
        content = inside(model.folder, name).read_bytes()
    except OSError as error:
        raise ValueError(f"'{name}' cannot be read: {error.strerror}") from error
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ValueError(f"'{name}' holds no PEM certificate")
    return content


def _token(variable: str, environment: Mapping[str, str]) -> str:
    token = environment.get(variable, "").strip()
    if not token:
        raise ValueError(f"the environment variable {variable} is not set")
    if not (token.isascii() and token.isprintable() and " " not in token):
        # the error does not show the token
        raise ValueError(f"the environment variable {variable} must hold one token, without spaces")
    return token


def _bare_tokens(remotes: Sequence[Remote]) -> Iterator[str]:
    for i, configured in enumerate(remotes):
        if (
            configured.token_env
            and not configured.tls_ca
            and not configured.address.startswith("unix")
        ):
            yield (
                f"remotes[{i}]: the token is sent to {configured.address} "
                "unencrypted, because tls_ca is not set"
            )
