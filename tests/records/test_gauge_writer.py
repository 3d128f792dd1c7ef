"""The gauges that a serving process writes every second, whatever happens to it."""

import asyncio
import os
import time

from gateway.records.events import VersionGauges
from gateway.records.gauge_writer import GaugeWriter
from gateway.records.reader import RecordReader
from gateway.records.ring import RingReader, RingWriter
from gateway.records.ring_file import size_rings_file
from gateway.records.sampling import SamplingPlan
from gateway.records.writer import RecordWriter

GAUGES = VersionGauges(1, "m", 1, 2, 512, 3, 1, "closed", "", ())


class Version:
    """A version whose gauges cannot be read the first time."""

    def __init__(self):
        self.samples = 0

    def refresh(self):
        self.samples += 1
        if self.samples == 1:
            raise OSError(24, "Too many open files")

    def gauges(self):
        return GAUGES


def test_a_second_in_which_nothing_can_be_said_is_not_the_last(caplog):
    async def run():
        fd = os.memfd_create("rings")
        size_rings_file(fd, 1)
        writer = RecordWriter(RingWriter(fd, 0), SamplingPlan(), None)
        reader = RecordReader(0, RingReader(fd, 0))
        version = Version()
        end = time.monotonic() + 20
        async with GaugeWriter(writer, lambda: [version]):
            while True:
                chunk = reader.read()
                if chunk is not None and chunk.gauges:
                    return chunk.gauges[-1]
                assert time.monotonic() < end
                await asyncio.sleep(0.02)

    told = asyncio.run(run())
    assert (told.versions, told.in_flight, told.pid) == ((GAUGES,), 3, os.getpid())
    assert sum("Too many open files" in (record.exc_text or "") for record in caplog.records) == 1
