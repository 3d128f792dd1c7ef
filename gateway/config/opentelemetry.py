"""OpenTelemetry's standard variables, and our own configuration over them, as a few options.

The main process reads them, without importing OpenTelemetry; the telemetry process exports by them.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ says what each
means. Whatever is not named here (headers, certificates, compression, timeouts, resource
attributes) is read by the exporters themselves, see `otlp_variables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from msgspec import structs

from gateway.config.exporter_names import exporter_names
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
from gateway.config.trace_sampler import sampling_plan
from gateway.config.variable_values import boolean, count, read_variable
from gateway.records.sampling import SamplingPlan

SERVICE_NAME: Final = "onnx-gateway"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_ENDPOINTS: Final = (
    _ENDPOINT,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


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

    A variable that changes to None must not be there.
    What our configuration says (empty, None: nothing) wins over the environment, except over
    OTEL_SDK_DISABLED. Traces are exported as soon as an exporter or an endpoint for them is named,
    metrics when an exporter or an endpoint of their own is. Raises ValueError naming the variable
    or the option, what was expected and what came.
    """
    changes = _trimmed(environ) | _changes(otlp_endpoint, otlp_protocol)
    seen = _seen(environ, changes)
    if read_variable(seen, "OTEL_SDK_DISABLED", boolean, default=False):
        named = _names_anything(seen, traces_exporter, metrics_exporter)
        return OtelOptions(disabled=named), changes
    options = _exports(seen, traces_exporter, metrics_exporter)
    signals = list(_over_otlp(options))
    _check_exports(seen, options, signals)
    changes |= without_none(seen, signals)
    if trace_ratio is None:
        plan = sampling_plan(seen)
    else:
        plan = SamplingPlan(traces=True, ratio=trace_ratio)
    traces = plan.traces and bool(options.trace_exporters)
    return replace(options, sampling=structs.replace(plan, traces=traces)), changes


def _seen(environ: Mapping[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    """OpenTelemetry's variables as they are after the changes, without those that are empty."""
    theirs: dict[str, str | None] = {
        name: text.strip() for name, text in environ.items() if name.startswith("OTEL_")
    }
    return {name: text for name, text in (theirs | changes).items() if text}


def _has_endpoint(seen: Mapping[str, str], signal: str) -> bool:
    """Whether an endpoint is named that turns a signal on; that of all signals turns on traces."""
    own = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" in seen
    return own or (signal == "TRACES" and _ENDPOINT in seen)


def _names_anything(seen: Mapping[str, str], traces_exporter: str, metrics_exporter: str) -> bool:
    """Whether there is anything to export, were the SDK not disabled."""
    exporters = (
        traces_exporter,
        metrics_exporter,
        seen.get("OTEL_TRACES_EXPORTER", ""),
        seen.get("OTEL_METRICS_EXPORTER", ""),
    )
    return (
        any(word not in ("none", "") for word in exporters)
        or _has_endpoint(seen, "TRACES")
        or _has_endpoint(seen, "METRICS")
    )


def _exports(seen: Mapping[str, str], traces_exporter: str, metrics_exporter: str) -> OtelOptions:
    """The options but for the sampling."""
    for variable in _ENDPOINTS:
        if variable in seen:
            endpoint_port(variable, seen[variable], address=True)
    return OtelOptions(
        trace_exporters=exporter_names(
            "traces", traces_exporter, seen, default=_has_endpoint(seen, "TRACES")
        ),
        metric_exporters=exporter_names(
            "metrics", metrics_exporter, seen, default=_has_endpoint(seen, "METRICS")
        ),
        trace_protocol=_protocol(seen, "TRACES"),
        metric_protocol=_protocol(seen, "METRICS"),
        link_limit=read_variable(seen, "OTEL_SPAN_LINK_COUNT_LIMIT", count, default=128),
    )


def _check_exports(
    seen: Mapping[str, str], options: OtelOptions, signals: Iterable[Signal]
) -> None:
    """Raises ValueError for the first variable that an exporter could do nothing with."""
    for signal in signals:
        check_signal(seen, signal)
    if options.metric_exporters:
        milliseconds = partial(positive, "milliseconds")
        for variable in ("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRIC_EXPORT_TIMEOUT"):
            read_variable(seen, variable, milliseconds, default=0.0)


def _over_otlp(options: OtelOptions) -> Iterator[Signal]:
    named = (
        ("TRACES", options.trace_exporters, options.trace_protocol),
        ("METRICS", options.metric_exporters, options.metric_protocol),
    )
    for signal, exporters, protocol in named:
        protocols = {"otlp": protocol, "otlp_proto_grpc": GRPC, "otlp_proto_http": HTTP}
        yield from (Signal(signal, protocols[name]) for name in exporters if name in protocols)


def _trimmed(environ: Mapping[str, str]) -> dict[str, str | None]:
    """What must change so that no variable is empty or has blanks around its value.

    Exporters take an empty variable for a value, and blanks for a part of it, except in headers.
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
    """What must change so that our endpoint and protocol hold for every signal."""
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


def _protocol(seen: Mapping[str, str], signal: str) -> str:
    """The protocol as configured, else by the endpoint's port: 4318 is that of OTLP over HTTP."""
    if variable := variable_of(seen, signal, "PROTOCOL"):
        if seen[variable] not in {GRPC, HTTP}:
            raise fault(variable, f"{GRPC} or {HTTP}", seen[variable])
        return seen[variable]
    variable = variable_of(seen, signal, "ENDPOINT")
    port = endpoint_port(variable, seen[variable], address=True) if variable else None
    return HTTP if port == HTTP_PORT else GRPC
