"""The fields of OTLP's spans, links and events, as the telemetry process lays them out in bytes.

Every field has a fixed length. Source: opentelemetry/proto/trace/v1/trace.proto.
"""

from __future__ import annotations

from typing import Final

from gateway.telemetry.tracing.otlp_template import Layout, field, fixed32_field, number_field

# Fields of opentelemetry.proto.trace.v1.Span; the spans of a ScopeSpans are its field 2.
SPANS = 2
TRACE = 1
SPAN = 2
TRACESTATE = 3
PARENT = 4
FLAGS = 16
NAME = 5
KIND = 6
START = 7
END = 8
EVENTS = 11
LINKS = 13
DROPPED_LINKS = 14
STATUS = 15
STATUS_MESSAGE = 2
STATUS_CODE = 3
STATUS_ERROR = 2
FAILED: Final = field(STATUS, number_field(STATUS_CODE, STATUS_ERROR))
INTERNAL = 1
SERVER = 2
CLIENT = 3
LOCAL = 0x100
REMOTE = 0x300
"""The flags of a span: its parent is in this process (LOCAL), or came with the call.

A link's flags say the same of its span. The values are the SDK's.
"""


def span(
    name: str, kind: int, flags: int, ids: tuple[str, str, str], times: tuple[str, str]
) -> Layout:
    """A span so far; `ids`: the columns of trace, span and parent (empty: none)."""
    layout = Layout()
    trace, own, parent = ids
    layout.put_bytes(TRACE, trace, "V16")
    layout.put_bytes(SPAN, own, "V8")
    if parent:
        layout.put_bytes(PARENT, parent, "V8")
    layout.put(
        fixed32_field(FLAGS, flags)
        + field(NAME, name.encode("utf-8", "replace"))
        + number_field(KIND, kind)
    )
    layout.put_fixed64(START, times[0])
    layout.put_fixed64(END, times[1])
    return layout


def link(trace: str, own: str) -> Layout:
    """A link to a span of this gateway."""
    layout = Layout()
    layout.put_bytes(1, trace, "V16")
    layout.put_bytes(2, own, "V8")
    layout.put(fixed32_field(6, LOCAL))
    return layout


def event(name: str, time: str) -> Layout:
    """Something that happened at a moment."""
    layout = Layout()
    layout.put_fixed64(1, time)
    layout.put(field(2, name.encode()))
    return layout
