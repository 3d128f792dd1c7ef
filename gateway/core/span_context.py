"""Where a request stands in a trace, in the words of W3C Trace Context.

A serving process reads it from the caller's headers, and the telemetry process makes spans of it.
Source: https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SAMPLED: Final = 1

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_ID_DIGITS: Final = {32: "0" * 32, 16: "0" * 16}
_LONGEST_STATE: Final = 512  # characters that must be passed on; what is longer may be let go


class SpanContext(NamedTuple):
    """A span that others may be children of."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes."""
    sampled: bool
    tracestate: str = ""

    def traceparent(self) -> str:
        """As it is passed on."""
        return f"00-{self.trace_id.hex()}-{self.span_id.hex()}-{'01' if self.sampled else '00'}"

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call made on its behalf carries."""
        parent = (TRACEPARENT, self.traceparent())
        return (parent, (TRACESTATE, self.tracestate)) if self.tracestate else (parent,)


def parse_traceparent(text: str, tracestate: str = "") -> SpanContext | None:
    """The caller's span; None where the text is not one, which is then as good as none."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if (
        version == "ff"
        or (version == "00" and rest)
        or trace_id == _ID_DIGITS[32]
        or span_id == _ID_DIGITS[16]
    ):
        return None
    state = tracestate if len(tracestate) <= _LONGEST_STATE else ""
    return SpanContext(
        bytes.fromhex(trace_id), bytes.fromhex(span_id), bool(int(flags, 16) & SAMPLED), state
    )


def span_context_of(metadata: Iterable[tuple[str, str | bytes]]) -> SpanContext | None:
    """The caller's span in the metadata of a call; None where there is none."""
    parent = ""
    states: list[str] = []
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str):
            parent = value
        elif key == TRACESTATE and isinstance(value, str):
            states.append(value)
    return parse_traceparent(parent, ",".join(states)) if parent else None
