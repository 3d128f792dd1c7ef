"""OpenTelemetry's OTLP exporters, to which the telemetry process gives encoded requests.

The exporters keep the connection, headers, TLS, compression, timeouts and retries. What is used
here and is not public: of the gRPC exporter `_translate_data`, `_stub`, `_channel` and `_client`,
of the HTTP exporter's module the name `encode_spans`. Where one is not there, `None` is returned,
and the exporter gets spans like any other.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter

from gateway.telemetry.tracing.encoder import Encoded

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def grpc_exporter() -> SpanExporter | None:
    """The exporter of OTLP over gRPC, configured by the environment."""
    # imports grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    class Exporter(OTLPSpanExporter):
        """Exports `Encoded`."""

        def _translate_data(self, data: Any) -> Any:
            return data.data

    exporter: Any = Exporter()
    if not all(hasattr(exporter, name) for name in ("_stub", "_channel", "_client")) or not hasattr(
        OTLPSpanExporter, "_translate_data"
    ):
        exporter.shutdown()
        return None
    exporter._stub = _stub
    exporter._client = _stub(exporter._channel)
    return exporter  # type: ignore[no-any-return]


def _stub(channel: Any) -> SimpleNamespace:
    """A stand-in for the generated stub that calls the collector: it passes bytes on."""
    # imports protobuf
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415

    export = channel.unary_unary(
        _EXPORT,
        request_serializer=None,
        response_deserializer=ExportTraceServiceResponse.FromString,
    )
    return SimpleNamespace(Export=export)


class _Message:
    """Stands in the place of the encoder's message, and returns the bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializePartialToString(self) -> bytes:  # noqa: N802
        return self._data

    SerializeToString = SerializePartialToString


def http_exporter() -> SpanExporter | None:
    """The exporter of OTLP over HTTP, configured by the environment."""
    # imports requests
    from opentelemetry.exporter.otlp.proto.http import trace_exporter  # noqa: PLC0415

    module: Any = trace_exporter
    encode = getattr(module, "encode_spans", None)
    if encode is None:
        return None

    def encode_unless_encoded(spans: Any) -> Any:
        return _Message(spans.data) if isinstance(spans, Encoded) else encode(spans)

    module.encode_spans = encode_unless_encoded
    return trace_exporter.OTLPSpanExporter()
