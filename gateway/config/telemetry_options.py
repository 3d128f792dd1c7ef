"""The options of the telemetry process, and what the main process makes of them for it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from gateway.config.log_options import LogOptions
from gateway.config.opentelemetry import OtelOptions
from gateway.config.option import Option
from gateway.config.written_values import ratio, trace_url


class TelemetryOptions(msgspec.Struct, frozen=True):
    """What the telemetry process shows, and where it sends what."""

    title: ClassVar = "what is seen of it"
    otlp_endpoint: Annotated[
        str,
        Option(
            "where traces go over OTLP, http://HOST:4317; as OTEL_EXPORTER_OTLP_ENDPOINT, over "
            "which it wins",
            "URL",
        ),
    ] = ""
    otlp_protocol: Annotated[
        Literal["grpc", "http/protobuf"] | None,
        Option("grpc or http/protobuf", "NAME", default="by the port: 4318 is HTTP's"),
    ] = None
    traces_exporter: Annotated[
        str,
        Option(
            "otlp, console, none, or what an installed package calls its own",
            "NAMES",
            default="otlp where an endpoint is named",
        ),
    ] = ""
    trace_ratio: Annotated[
        float | None,
        Option(
            "of traces that begin here, 0 to 1; 0 begins none, else what fails or is slow is kept "
            "all the same; callers decide for theirs",
            "SHARE",
            default="1",
            parse=ratio,
        ),
    ] = None
    trace_url: Annotated[
        str,
        Option(
            "where the page links traces to, {trace_id} in the id's place: "
            "http://HOST:16686/trace/{trace_id}",
            "URL",
            parse=trace_url,
        ),
    ] = ""
    """Empty: pages name the id alone."""
    metrics_exporter: Annotated[
        str,
        Option(
            "otlp, console, none, or what an installed package calls its own; /metrics on the HTTP "
            "port is there always",
            "NAMES",
            default="none",
        ),
    ] = ""
    metrics_names: Annotated[
        Literal["gateway", "triton", "all"],
        Option("names on /metrics: gateway, triton (nv_inference_*) or all", "WHOSE"),
    ] = "gateway"


class TelemetrySettings(msgspec.Struct, frozen=True):
    """What the telemetry process gets at its start; it travels over its link."""

    options: TelemetryOptions = msgspec.field(default_factory=TelemetryOptions)
    logs: LogOptions = msgspec.field(default_factory=LogOptions)
    otel: OtelOptions = msgspec.field(default_factory=OtelOptions)
    environment: tuple[tuple[str, str | None], ...] = ()
    """Variables to set, or to take away (None), before OpenTelemetry is imported.

    What our configuration says wins.
    """
