"""Makes spans of chunks of cells, for the exporters that the telemetry process is configured with.

Import it only where spans are exported: it imports OpenTelemetry.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from functools import partial
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

from gateway import __version__
from gateway.config.opentelemetry import OtelOptions
from gateway.records.reader import Chunk
from gateway.telemetry.tracing import span_names as names
from gateway.telemetry.tracing.encoder import Encoded, SpanEncoder
from gateway.telemetry.tracing.export_queue import DROP_REASONS, NOT_MADE, Export, ExportQueue
from gateway.telemetry.tracing.joiner import SlotRows
from gateway.telemetry.tracing.sdk_spans import SpanMaker
from gateway.telemetry.tracing.span_batches import Rows
from gateway.telemetry.tracing.span_exporters import NamedExporter, make_exporters, make_resource
from gateway.telemetry.tracing.span_templates import Server

_log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 << 20
"""The most bytes that wait for an exporter: two seconds of 30 000 requests a second."""
MOST_SPANS: Final = 1 << 19
_SDK_SPAN_BYTES: Final = 4096
"""How many bytes a span that is an object counts as."""
_SPANS_AT_ONCE: Final = 512
"""How many objects an exporter gets at once: the SDK's own number."""
_CONTEXT: Final = SpanContext(1, 1, is_remote=False)


class SpanExport:
    """Takes chunks of all slots, in one thread, and exports from others, from `start` to `close`.

    `server`: where callers reach the gateway. `all_children`: every request has spans below it;
    else quick answered requests have events instead.
    """

    def __init__(
        self,
        options: OtelOptions,
        *,
        server: Server | None = None,
        all_children: bool = True,
        resource: Resource | None = None,
        exporters: list[NamedExporter] | None = None,
        most_bytes: int = MOST_BYTES,
        most_spans: int = MOST_SPANS,
    ) -> None:
        self._options = options
        resource = make_resource() if resource is None else resource
        scope = InstrumentationScope("gateway", __version__, names.SCHEMA_URL)
        server = server or Server()
        self._encoder = SpanEncoder(
            *encode_origin(resource, scope), server, all_children=all_children
        )
        self._maker = SpanMaker(resource, scope, server, all_children=all_children)
        exporters = make_exporters(options) if exporters is None else exporters
        self._of_bytes, self._of_spans = _queues(exporters, most_bytes, most_spans)
        self.queues = (*self._of_bytes, *self._of_spans)
        self._slots: dict[int, SlotRows] = {}
        self._not_made = 0

    @property
    def has_exporter(self) -> bool:
        """Whether any exporter could be made."""
        return any(queue.has_exporter for queue in self.queues)

    @property
    def counts(self) -> dict[str, tuple[int, dict[str, int]]]:
        """By exporter: the spans that it has taken, and those lost by reason (`DROP_REASONS`)."""
        return {
            queue.name: (queue.exported, {**queue.dropped, NOT_MADE: self._not_made})
            for queue in self.queues
        }

    @property
    def asking_s(self) -> dict[str, float]:
        """By exporter: how long it has been at its current export; 0 where it waits for more."""
        return {queue.name: queue.asking_s for queue in self.queues}

    @property
    def exported(self) -> int:
        """Spans that an exporter has taken; each exporter counts."""
        return sum(exported for exported, _ in self.counts.values())

    @property
    def dropped(self) -> dict[str, int]:
        """Spans that are lost, by reason; each exporter counts."""
        found = Counter(dict.fromkeys(DROP_REASONS, 0))
        for _, dropped in self.counts.values():
            found.update(dropped)
        return dict(found)

    def start(self) -> None:
        """Begins to export."""
        for queue in self.queues:
            queue.start()

    def consume(self, chunk: Chunk) -> None:
        """Queues the spans of its requests, and of the batches of the chunk before.

        It never waits and never raises.
        """
        try:
            rows = self._slots.setdefault(chunk.slot, SlotRows(self._options.link_limit))
            self._put(rows.consume(chunk, time.time_ns() - time.monotonic_ns()))
        except Exception:  # noqa: BLE001  # logged; spans must not stop what counts
            self._slots.pop(chunk.slot, None)  # its batches would come up again with the next
            if not self._not_made:
                _log.exception("no spans could be made of %d requests", len(chunk.requests))
            self._not_made += max(1, len(chunk.requests))

    def _put(self, joined: Rows) -> None:
        if self._of_bytes:
            for encoded in self._encoder.encode(joined):
                for queue in self._of_bytes:
                    queue.put(Export(partial(_alone, encoded), len(encoded), len(encoded.data)))
        if self._of_spans and joined:
            spans = (
                3 * len(joined.requests or ())
                + sum(map(len, joined.batches))
                + len(joined.calls or ())
            )

            def make() -> list[list[ReadableSpan]]:
                made = list(self._maker.make(joined))
                return [
                    made[at : at + _SPANS_AT_ONCE] for at in range(0, len(made), _SPANS_AT_ONCE)
                ]

            for queue in self._of_spans:
                queue.put(Export(make, spans, spans * _SDK_SPAN_BYTES))

    def flush(self, timeout_s: float) -> bool:
        """Queues the batches that wait for their requests, and waits until all is out.

        False where that took too long.
        """
        for rows in self._slots.values():
            self._put(rows.rest())
        until = time.monotonic() + timeout_s
        out = [queue.flush(max(0.0, until - time.monotonic())) for queue in self.queues]
        return all(out)

    def close(self, timeout_s: float = 5.0) -> None:
        """Exports what there is as long as there is time; the rest is dropped and counted."""
        until = time.monotonic() + timeout_s
        self.flush(timeout_s)
        for queue in self.queues:
            queue.close(max(0.0, until - time.monotonic()))

    def __repr__(self) -> str:
        return f"<SpanExport {list(self.queues)}>"


def _queues(
    exporters: list[NamedExporter], most_bytes: int, most_spans: int
) -> tuple[list[ExportQueue], list[ExportQueue]]:
    """A queue before each exporter: those that take bytes, and those that take the SDK's spans."""
    of_bytes: list[ExportQueue] = []
    of_spans: list[ExportQueue] = []
    for one in exporters:
        queue = ExportQueue(one.name, one.exporter, most_bytes, most_spans)
        (of_bytes if one.takes_bytes else of_spans).append(queue)
    return of_bytes, of_spans


def _alone(encoded: Encoded) -> tuple[Encoded]:
    return (encoded,)


def encode_origin(resource: Resource, scope: InstrumentationScope) -> tuple[bytes, bytes]:
    """Resource and scope, as OpenTelemetry encodes them."""
    spans = encode_spans(
        [ReadableSpan("", resource=resource, instrumentation_scope=scope, context=_CONTEXT)]
    ).resource_spans[0]
    return spans.resource.SerializeToString(), spans.scope_spans[0].scope.SerializeToString()
