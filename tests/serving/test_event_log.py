"""Events of breakers and workers, as they are recorded for the page."""

import asyncio
import os

from gateway.records.breaker_state import Transition
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.records.sampling import SamplingPlan
from gateway.records.writer import RecordWriter
from gateway.serving.event_log import record_event
from gateway.serving.runtime.process.worker_events import Fate, WorkerEvent

SAID = (
    "Non-zero status code returned while running Gather node. Name:'g' Status "
    "Message: idx=4711 must be within [0,8)"
)


def test_why_a_breaker_opened_or_a_worker_went_quotes_no_input_and_is_not_endless():
    async def run():
        fd = os.memfd_create("rings")
        size_rings_file(fd, 1)
        writer = RecordWriter(RingWriter(fd, 0), SamplingPlan(), None)
        reader = RecordReader(0, RingReader(fd, 0))
        record_event(
            writer,
            Transition(
                "m/1", "closed", "open", f"5 failures; last error: {SAID}", 1.0, 5.0, ("m", 1, "")
            ),
        )
        record_event(
            writer, WorkerEvent("m", 1, "worker 1", 7, Fate.DIED, f"{SAID} {'x' * 100_000}")
        )
        writer.publish()
        reader.read()
        return reader.read().state_changes

    breaker, worker = asyncio.run(run())
    assert (breaker.what, breaker.state, worker.what, worker.state) == (
        "breaker",
        "open",
        "worker",
        "died",
    )
    assert "Gather" in breaker.text
    assert "4711" not in breaker.text + worker.text
    assert len(worker.text) < 5000
