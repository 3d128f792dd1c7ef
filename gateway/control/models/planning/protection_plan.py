"""How a version is protected.

What is configured, held against its outputs and the versions beside it.

Besides what is configured, two things are read here, in the main process: the certificate files of
remotes, and the environment variables that hold their tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from gateway.config.quantities import ByteSize, Duration
from gateway.config.typed_yaml import did_you_mean
from gateway.control.models.configuration.protection_configuration import (
    Admission,
    Fallback,
    OutputGuard,
    Remote,
    Workers,
)
from gateway.control.models.planning.constant_answer import constant_faults
from gateway.control.models.sources.found import FoundModel
from gateway.control.models.sources.sidecars import inside
from gateway.core.plan import TensorSpec
from gateway.core.protection import (
    AdmissionPlan,
    BreakerPlan,
    FallbackLink,
    OutputGuardPlan,
    ProcessWorkersPlan,
    ProtectionPlan,
    RemotePlan,
    RetryPlan,
)
from gateway.onnx.model_faults import PlanFault

_FLOATS = ("FP16", "BF16", "FP32", "FP64")
_NO_NUMBERS = ("BOOL", "BYTES")


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
        breaker=replace(BreakerPlan(), **_given(configured.breaker)),
        retry=replace(RetryPlan(), **_given(configured.retry)),
        # versions that are live together share one chain, and each leaves itself out
        fallback=tuple(
            _link(fallback) for fallback in configured.fallback or () if fallback.version != version
        ),
        output_guard=_output_guard(configured.output_guard, outputs, faults),
        admission=_admission(configured.admission),
        workers=_workers(configured.workers, instances),
        remotes=tuple(
            _remote(f"remotes[{i}]", remote, model, environment, faults)
            for i, remote in enumerate(configured.remotes or ())
        ),
        local=configured.local is not False,
    )
    for i, fallback in enumerate(configured.fallback or ()):
        faults.extend(_fallback_faults(f"fallback[{i}]", fallback, model, outputs, batched=batched))
    if faults:
        raise PlanFault("; ".join(faults))
    return plan, (*_idle_fallbacks(model, version), *_bare_tokens(configured.remotes or ()))


def _given(struct: msgspec.Struct, *left_out: str) -> dict[str, Any]:
    """What is configured, by field, in plain values; the plans have fields of the same names."""
    values = {
        name: getattr(struct, name) for name in struct.__struct_fields__ if name not in left_out
    }
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    for kind, plain in ((Duration, float), (ByteSize, int), (str, str)):
        if isinstance(value, kind):
            return plain(value)
    return value


def _link(configured: Fallback) -> FallbackLink:
    link = replace(
        FallbackLink(),
        **_given(configured, "version", "cache", "on"),
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
    key: str,
    configured: Fallback,
    model: FoundModel,
    outputs: Sequence[TensorSpec],
    *,
    batched: bool,
) -> Iterator[str]:
    if configured.model == model.name:
        yield f"{key}.model is this model itself: name another version of it with `version`"
    if configured.constant is not None:
        yield from constant_faults(f"{key}.constant", configured.constant, outputs, batched=batched)


def _idle_fallbacks(model: FoundModel, version: int) -> Iterator[str]:
    """A warning for each that cannot answer as things stand: versions may still come."""
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
        before = (j for j in range(i) if _answers_everything_of(fallbacks[j], configured))
        yield from (
            (
                f"fallback[{i}] is never tried: fallback[{j}] is a constant, which "
                "answers whatever comes to it"
            )
            for j in [*before][:1]
        )


def _answers_everything_of(first: Fallback, second: Fallback) -> bool:
    return (
        first.constant is not None
        and not first.minimum_slack_s
        and _link(second).errors <= _link(first).errors
    )


def _output_guard(
    configured: OutputGuard, outputs: Sequence[TensorSpec], faults: list[str]
) -> OutputGuardPlan:
    datatypes = {spec.name: spec.datatype for spec in outputs}
    floats = [name for name, datatype in datatypes.items() if datatype in _FLOATS]
    finite = floats if configured.finite is True else list(dict.fromkeys(configured.finite or ()))
    ranges: Mapping[str, tuple[float, float]] = configured.ranges or {}
    for key, names in (("finite", finite), ("ranges", ranges)):
        faults.extend(
            f"output_guard.{key} names '{name}', but there is no such "
            f"output{did_you_mean(name, list(datatypes))}"
            for name in names
            if name not in datatypes
        )
    faults.extend(
        f"output_guard.finite names '{name}', which is {datatypes[name]}: only "
        "floating point can be NaN or infinite"
        for name in finite
        if name in datatypes and name not in floats
    )
    faults.extend(
        f"output_guard.ranges names '{name}', which is {datatypes[name]} and has no order"
        for name in ranges
        if datatypes.get(name) in _NO_NUMBERS
    )
    return OutputGuardPlan(finite=tuple(finite), ranges=dict(ranges))


def _admission(configured: Admission) -> AdmissionPlan:
    plan = replace(AdmissionPlan(), **_given(configured, "quota"))
    if configured.quota is None:
        return plan
    # a second's worth would never come to a request
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
    return replace(ProcessWorkersPlan(), **{"count": instances, **_given(configured, "kind")})


def _remote(
    key: str,
    configured: Remote,
    model: FoundModel,
    environment: Mapping[str, str],
    faults: list[str],
) -> RemotePlan:
    plan = replace(
        RemotePlan(str(configured.address)),
        **_given(configured, "address", "version", "tls_ca", "token_env"),
        version=str(configured.version or ""),
    )
    try:
        if configured.tls_ca is not None:
            plan = replace(plan, tls_ca=certificates(model, configured.tls_ca))
    except ValueError as fault:
        faults.append(f"{key}.tls_ca: {fault}")
    try:
        if configured.token_env is not None:
            plan = replace(plan, token=_token(configured.token_env, environment))
    except ValueError as fault:
        faults.append(f"{key}.token_env: {fault}")
    return plan


def certificates(model: FoundModel, name: str) -> bytes:
    """The content of a certificate file in the model's folder.

    Raises ValueError if it is not there, or holds none.
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
        # it is never shown
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
