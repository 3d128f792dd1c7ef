"""Lines go to every kind of reader, whole, and nothing waits for a reader."""

import contextlib
import os
import threading
import time

import pytest

from gateway.telemetry.access_log.line_writer import LineWriter


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def read_all(fd):
    found = b""
    while data := os.read(fd, 1 << 16):
        found += data
    return found


def test_lines_of_many_writers_of_a_pipe_are_never_mixed(pipe):
    source, sink = pipe
    writers = [LineWriter(sink) for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.start()
        for _ in range(50):
            assert writer.put((b"%d" % number * 300 + b"\n") * 100, 100)
    found = []
    reader = threading.Thread(target=lambda: found.append(read_all(source)))
    reader.start()
    for writer in writers:
        writer.close(20)
    os.close(sink)
    reader.join(20)
    lines = found[0].splitlines()
    assert len(lines) == 15_000
    assert all(len(line) == 300 and len(set(line)) == 1 for line in lines)


def test_a_reader_who_stands_still_costs_lines_and_keeps_nobody_waiting(pipe):
    source, sink = pipe
    writer = LineWriter(sink, most_bytes=1 << 20)
    writer.start()
    began = time.monotonic()
    taken = [writer.put(b"x" * 999 + b"\n", 1) for _ in range(3000)]
    writer.close(0.1)
    assert time.monotonic() - began < 5
    assert taken[0]
    assert not taken[-1]
    assert (1 << 20) // 1000 <= sum(taken) < 1500
    lost = writer.lost
    assert 900 < lost <= sum(taken)  # nothing will write them any more
    os.close(source)
    writer.close(20)
    assert writer.lost == lost


def test_a_reader_who_has_gone_costs_lines_and_nothing_else(pipe):
    source, sink = pipe
    os.close(source)
    writer = LineWriter(sink)
    writer.start()
    assert writer.put(b"a\nb\n", 2)
    writer.close(20)
    assert writer.lost == 2


def test_a_descriptor_that_does_not_wait_loses_nothing(pipe):
    source, sink = pipe
    os.set_blocking(sink, False)
    writer = LineWriter(sink)
    writer.start()
    data = b"".join(b"%06d\n" % number for number in range(100_000))
    assert writer.put(data, 100_000)
    closing = threading.Thread(target=lambda: (writer.close(20), os.close(sink)))
    closing.start()
    assert read_all(source) == data
    closing.join()


def test_a_file_gets_all_in_one_write(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        writer = LineWriter(file.fileno())
        writer.start()
        writer.put(b"line\n" * 100_000, 100_000)
        writer.close(20)
    assert (tmp_path / "log").read_bytes() == b"line\n" * 100_000
