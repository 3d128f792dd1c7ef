"""OpenTelemetry's standard variables, and our own configuration over them, as a few options.

Read without importing OpenTelemetry.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ says what each
means. Whatever is not named here (headers, certificates, compression, timeouts, resource
attributes) is read by the exporters themselves, see `otlp_variables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from gateway.config.otlp_variables import (
    GRPC,
    HTTP,
    HTTP_PORT,
    Signal,
    check_signal,
    endpoint_port,
    fault,
    positive,
    variable_of,
    without_none,
)
from gateway.records.sampling import SamplingPlan

SERVICE_NAME: Final = "onnx-gateway"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_ENDPOINTS: Final = (
    _ENDPOINT,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_KNOWN_EXPORTERS: Final = {
    "traces": ("otlp", "console", "none"),
    "metrics": ("otlp", "console", "prometheus", "none"),
}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class OtelOptions:
    """What is exported, how, and of which traces."""

    sampling: SamplingPlan = field(default_factory=SamplingPlan)
    trace_exporters: tuple[str, ...] = ()
    """`otlp`, `console` or what an installed package calls its own; none: no traces.

    Packages name theirs by the entry point `opentelemetry_traces_exporter`.
    """
    metric_exporters: tuple[str, ...] = ()
    trace_protocol: str = GRPC
    """`grpc` or `http/protobuf`."""
    metric_protocol: str = GRPC
    link_limit: int = 128
    """Links of one batch's span; the rest are counted."""
    disabled: bool = False
    """OTEL_SDK_DISABLED takes away what is named."""


def apply(
    environ: Mapping[str, str],
    *,
    traces_exporter: str = "",
    metrics_exporter: str = "",
    otlp_endpoint: str = "",
    otlp_protocol: str = "",
    trace_ratio: float | None = None,
) -> tuple[OtelOptions, dict[str, str | None]]:
    """The options, and what must change in the environment of the process that exports.

    None: the variable must not be there.

    What our configuration says (empty, None: nothing) wins over the environment, except over
    OTEL_SDK_DISABLED. Traces are exported as soon as an exporter or an endpoint for them is named,
    metrics when an exporter or an endpoint of their own is. Raises ValueError naming the variable
    or the option, what was expected and what came.
    """
    changes = _trimmed(environ) | _changes(otlp_endpoint, otlp_protocol)
    seen = {
        name: value.strip()
        for name, value in environ.items()
        if name.startswith("OTEL_") and value.strip()
    }
    seen = {name: value for name, value in (seen | changes).items() if value}
    named = any(seen.get(name) for name in (_ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    metrics_named = bool(seen.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"))
    if _read(seen, "OTEL_SDK_DISABLED", _boolean, default=False):
        exporters = (
            traces_exporter,
            metrics_exporter,
            seen.get("OTEL_TRACES_EXPORTER"),
            seen.get("OTEL_METRICS_EXPORTER"),
            named,
            metrics_named,
        )
        return OtelOptions(
            disabled=any(word not in ("none", None, "", False) for word in exporters)
        ), changes
    for variable in _ENDPOINTS:
        if variable in seen:
            endpoint_port(variable, seen[variable], address=True)
    options = OtelOptions(
        trace_exporters=_exporters("traces", traces_exporter, seen, default=named),
        metric_exporters=_exporters("metrics", metrics_exporter, seen, default=metrics_named),
        trace_protocol=_protocol(seen, "TRACES"),
        metric_protocol=_protocol(seen, "METRICS"),
        link_limit=_read(seen, "OTEL_SPAN_LINK_COUNT_LIMIT", _count, default=128),
    )
    signals = list(_over_otlp(options))
    for signal in signals:
        check_signal(seen, signal)
    if options.metric_exporters:
        for variable in ("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"):
            _read(seen, variable, partial(positive, "milliseconds"), default=0.0)
    changes |= without_none(seen, signals)
    plan = _sampling(seen) if trace_ratio is None else SamplingPlan(traces=True, ratio=trace_ratio)
    return replace(
        options, sampling=replace(plan, traces=plan.traces and bool(options.trace_exporters))
    ), changes


def _over_otlp(options: OtelOptions) -> Iterator[Signal]:
    named = (
        ("TRACES", options.trace_exporters, options.trace_protocol),
        ("METRICS", options.metric_exporters, options.metric_protocol),
    )
    for signal, exporters, protocol in named:
        protocols = {"otlp": protocol, "otlp_proto_grpc": GRPC, "otlp_proto_http": HTTP}
        yield from (Signal(signal, protocols[name]) for name in exporters if name in protocols)


def _trimmed(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Exporters take an empty variable for a value, and blanks for a part of it.

    Of headers they do not.
    """
    theirs = {
        name: text
        for name, text in environ.items()
        if name.startswith("OTEL_EXPORTER_OTLP_") and not name.endswith("HEADERS")
    }
    return {
        name: text.strip() or None
        for name, text in theirs.items()
        if text.strip() != (text or None)
    }


def _changes(endpoint: str, protocol: str) -> dict[str, str | None]:
    changes: dict[str, str | None] = {}
    if endpoint:
        endpoint_port("--otlp-endpoint", endpoint)
        changes |= dict.fromkeys(_ENDPOINTS) | {_ENDPOINT: endpoint}
    if protocol:
        if protocol not in {GRPC, HTTP}:
            raise fault("--otlp-protocol", f"{GRPC} or {HTTP}", protocol)
        changes |= {
            _PROTOCOL: protocol,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": None,
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": None,
        }
    return changes


def _exporters(
    signal: str, option: str, seen: Mapping[str, str], *, default: bool
) -> tuple[str, ...]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    otherwise = "otlp" if default else "none"
    name = f"--{signal}-exporter" if option else variable
    text = option or seen.get(variable, otherwise)
    words = tuple(word.strip() for word in text.split(","))
    if not all(re.fullmatch(r"[\w.-]+", word) for word in words) or (
        "none" in words and len(words) > 1
    ):
        raise fault(name, "names of exporters with commas between, or none", text)
    if unknown := [word for word in words if word not in _KNOWN_EXPORTERS[signal]]:
        _check_installed(name, signal, unknown)
    return () if words == ("none",) else words


def _check_installed(name: str, signal: str, words: Iterable[str]) -> None:
    # reads the folders of all packages, which most starts can do without
    from importlib.metadata import entry_points  # noqa: PLC0415

    known = _KNOWN_EXPORTERS[signal]
    installed = sorted(
        {point.name for point in entry_points(group=f"opentelemetry_{signal}_exporter")}
        - set(known)
    )
    for word in words:
        if word not in installed:
            raise fault(
                name,
                f"{', '.join(known)} or an exporter of an installed package "
                f"({', '.join(installed) or 'there is none'})",
                word,
            )


def _protocol(seen: Mapping[str, str], signal: str) -> str:
    """As configured; else by the endpoint's port, of which 4318 is OTLP's over HTTP."""
    if variable := variable_of(seen, signal, "PROTOCOL"):
        if seen[variable] not in {GRPC, HTTP}:
            raise fault(variable, f"{GRPC} or {HTTP}", seen[variable])
        return seen[variable]
    variable = variable_of(seen, signal, "ENDPOINT")
    port = endpoint_port(variable, seen[variable], address=True) if variable else None
    return HTTP if port == HTTP_PORT else GRPC


def _sampling(seen: Mapping[str, str]) -> SamplingPlan:
    ratio = (
        _read(seen, "OTEL_TRACES_SAMPLER_ARG", _ratio, default=1.0)
        if "traceidratio" in seen.get("OTEL_TRACES_SAMPLER", "")
        else 1.0
    )
    plans = {
        f"{prefix}{name}": SamplingPlan(
            traces=parent_based or share > 0, parent_based=parent_based, ratio=share
        )
        for prefix, parent_based in (("", False), ("parentbased_", True))
        for name, share in (("always_on", 1.0), ("always_off", 0.0), ("traceidratio", ratio))
    }
    return _read(
        seen, "OTEL_TRACES_SAMPLER", _one_of(plans), default=plans["parentbased_always_on"]
    )


def _read(seen: Mapping[str, str], variable: str, parse: Callable[[str], _T], default: _T) -> _T:
    if variable not in seen:
        return default
    try:
        return parse(seen[variable])
    except ValueError as error:
        raise fault(variable, str(error), seen[variable]) from None


def _one_of(values: Mapping[str, _T]) -> Callable[[str], _T]:
    def parse(text: str) -> _T:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[text]

    return parse


def _boolean(text: str) -> bool:
    return _one_of({"true": True, "false": False})(text.lower())


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number from 0")
    return int(text)
