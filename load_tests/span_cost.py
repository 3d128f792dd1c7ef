"""What the spans of a request cost the telemetry process.

    python3 -m load_tests.span_cost [--export]

Chunks as the serving processes write them under load are read from a ring, made into spans and
encoded; with --export they are also sent over OTLP/gRPC to a receiver in a process of its own,
which decodes and counts them. The program prints the process's CPU time in microseconds a request.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from typing import Final

from gateway.config.opentelemetry import apply
from gateway.records.cells import BATCH, BATCH_PLAIN, REQUEST, REQUEST_ID_AT, REQUEST_PLAIN, SAMPLED
from gateway.records.events import NameAssigned, ProcessStarted, encode
from gateway.records.reader import Chunk, RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.telemetry.tracing.encoder import SpanEncoder
from gateway.telemetry.tracing.joiner import SlotRows
from gateway.telemetry.tracing.span_templates import Server
from load_tests.otlp_receiver import Receiver

CHUNK_S: Final = 0.1


class Writer:
    """Writes rings as a serving process does under load, with `requests` in each chunk."""

    def __init__(self, requests: int, batch: int, peers: int) -> None:
        self._requests = requests
        self._batch = batch
        self._peers = peers
        fd = os.memfd_create("rings")
        size_rings_file(fd, 1)
        self._ring = RingWriter(fd, 0)
        self._reader = RecordReader(0, RingReader(fd, 0))
        self._number = 0
        self._ring.write_event(encode(ProcessStarted(1, os.urandom(16))))
        for peer in range(peers):
            self._ring.write_event(
                encode(NameAssigned("peer", peer, f"ipv4:127.0.0.1:{40000 + peer}"))
            )
        self._ring.write_event(encode(NameAssigned("version", 0, "small/1")))

    def chunk(self) -> Chunk:
        """Writes what a tenth of a second brings, and returns it as a chunk."""
        ring = self._ring
        now = time.monotonic_ns()
        for i in range(self._requests):
            if i % self._batch == 0:
                self._number += 1
                at = ring.offset()
                BATCH_PLAIN.pack_into(
                    ring.cells,
                    at,
                    BATCH,
                    0,
                    0,
                    0,
                    now,
                    now + 200_000,
                    self._number,
                    self._batch,
                    self._batch,
                    now + 50_000,
                    -1,
                    0,
                    now + 250_000,
                )
            at = ring.offset()
            REQUEST_PLAIN.pack_into(
                ring.cells,
                at,
                REQUEST,
                0,
                SAMPLED,
                4,
                0,
                now - 900_000,
                now + 300_000,
                self._number,
                1,
                0.5,
                256,
                i % self._peers,
                0,
            )
            ring.cells[at + REQUEST_ID_AT : at + REQUEST_ID_AT + 4] = b"%04d" % (i % 10_000)
        ring.publish()
        self._reader.read()
        chunk = self._reader.read()
        assert chunk is not None
        return chunk


def encode_only(chunks: Iterator[Chunk], *, all_children: bool) -> Iterator[tuple[float, int, int]]:
    """CPU seconds, spans and bytes of each chunk."""
    rows = SlotRows(128)
    encoder = SpanEncoder(b"", b"", Server("127.0.0.1", 8001), all_children=all_children)
    for chunk in chunks:
        begun = time.process_time()
        encoded = list(encoder.encode(rows.consume(chunk, 0)))
        yield (
            time.process_time() - begun,
            sum(map(len, encoded)),
            sum(len(one.data) for one in encoded),
        )


def encode_and_export(
    chunks: Iterator[Chunk], *, all_children: bool
) -> Iterator[tuple[float, int, int]]:
    """CPU seconds of each chunk, its export included, and its spans.

    At the end it checks that all spans have arrived.
    """
    # imported here, since the cost is measured without it as well
    from gateway.telemetry.tracing.exporter import SpanExport  # noqa: PLC0415

    with Receiver() as receiver:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
        export = SpanExport(
            apply(os.environ)[0], server=Server("127.0.0.1", 8001), all_children=all_children
        )
        export.start()
        for chunk in chunks:
            begun = time.process_time()
            exported = export.exported
            export.consume(chunk)
            while export.queues[0].queued_spans:
                time.sleep(0.001)
            yield time.process_time() - begun, export.exported - exported, 0
        export.close()
        if export.exported != receiver.spans or any(export.dropped.values()):
            raise SystemExit(f"{export}: {receiver.spans} spans arrived")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3 -m load_tests.span_cost", description="what the spans of a request cost"
    )
    parser.add_argument(
        "--rate", type=int, default=30_000, help="requests a second (default: %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=50, help="requests in a batch (default: %(default)s)"
    )
    parser.add_argument("--peers", type=int, default=4, help="connections (default: %(default)s)")
    parser.add_argument(
        "--chunks", type=int, default=30, help="of a tenth of a second each (default: %(default)s)"
    )
    parser.add_argument("--export", action="store_true", help="export them too")
    parser.add_argument(
        "--events", action="store_true", help="events instead of spans below quick requests"
    )
    options = parser.parse_args()
    requests = int(options.rate * CHUNK_S)
    writer = Writer(requests, options.batch, options.peers)
    measure, what = (
        (encode_and_export, "encode and export") if options.export else (encode_only, "encode")
    )
    costs = list(
        measure((writer.chunk() for _ in range(options.chunks)), all_children=not options.events)
    )[2:]
    cost = statistics.median(seconds for seconds, _, _ in costs) / requests * 1e6
    spans, size = (statistics.mean(one[part] for one in costs) / requests for part in (1, 2))
    print(
        f"{what}: {cost:.2f} us a request, {spans:.2f} spans"
        + (f", {size:.0f} bytes" if size else "")
    )


if __name__ == "__main__":
    main()
