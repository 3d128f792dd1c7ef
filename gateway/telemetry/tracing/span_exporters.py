"""The exporters of spans that the telemetry process makes, by the names in the options.

The resource that their spans come from is made here too.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace.export import SpanExporter

from gateway import __version__
from gateway.config.opentelemetry import SERVICE_NAME as OUR_NAME
from gateway.config.opentelemetry import OtelOptions
from gateway.config.otlp_variables import GRPC
from gateway.telemetry.tracing.otlp_bytes import grpc_exporter, http_exporter

_log = logging.getLogger(__name__)
_GROUP = "opentelemetry_traces_exporter"


@dataclass(frozen=True)
class NamedExporter:
    """An exporter, or None where it could not be made.

    `takes_bytes`: it takes `Encoded`, else lists of spans.
    """

    name: str
    exporter: SpanExporter | None
    takes_bytes: bool


def make_exporters(options: OtelOptions) -> list[NamedExporter]:
    """All exporters that the options name.

    Of one that cannot be made an error is logged, with the reason.
    """
    made = []
    for name in dict.fromkeys(options.trace_exporters):
        try:
            made.append(_make(name, options.trace_protocol))
        except Exception as error:  # noqa: BLE001
            # an installed package's own, or of the environment that it reads: no bug of ours
            _log.error("spans are not exported by %r: %s: %s", name, type(error).__name__, error)
            made.append(NamedExporter(name, None, takes_bytes=True))
    return made


def _make(name: str, protocol: str) -> NamedExporter:
    over_grpc = protocol == GRPC
    encoded: dict[str, Callable[[], SpanExporter | None]] = {
        "otlp": grpc_exporter if over_grpc else http_exporter,
        "otlp_proto_grpc": grpc_exporter,
        "otlp_proto_http": http_exporter,
    }
    if name in encoded:
        exporter = encoded[name]()
        if exporter is not None:
            return NamedExporter(name, exporter, takes_bytes=True)
        _log.warning(
            "the installed OTLP exporter takes no encoded spans: exporting costs "
            "twenty times as much as it could"
        )
        name = "otlp_proto_grpc" if encoded[name] is grpc_exporter else "otlp_proto_http"
    found = entry_points(group=_GROUP, name=name)
    if not found:
        known = sorted({point.name for point in entry_points(group=_GROUP)})
        raise ValueError(
            f"no installed package has an exporter of this name; there are {', '.join(known)}"
        )
    return NamedExporter(name, next(iter(found)).load()(), takes_bytes=False)


def make_resource(instance_id: str = "") -> Resource:
    """The resource of what this gateway exports.

    What the environment sets (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) takes the place of the
    gateway's own name, version and instance.
    """
    named = Resource.create()
    attributes = {
        key: value
        for key, value in named.attributes.items()
        if (key, str(value)[:15]) != (SERVICE_NAME, "unknown_service")
    }
    if instance_id and SERVICE_INSTANCE_ID not in os.environ.get(OTEL_RESOURCE_ATTRIBUTES, ""):
        attributes.pop(SERVICE_INSTANCE_ID, None)  # the SDK draws one
    ours = {
        SERVICE_NAME: OUR_NAME,
        SERVICE_VERSION: __version__,
        SERVICE_INSTANCE_ID: instance_id or str(uuid.uuid4()),
    }
    return Resource(ours | attributes, named.schema_url)


def resource_of(address: str, started_s: float) -> Resource:
    """The resource of a gateway, by its address and the time of its start.

    It is the same for all that it exports, and for a telemetry process that takes the place of
    another.
    """
    return make_resource(
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{socket.gethostname()} {address} {started_s}"))
    )
