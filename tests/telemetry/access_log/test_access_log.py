"""The access log, from cells in a real ring to lines."""

import json
import logging
import math
import os
import re
import shlex
import time
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.access_log_choice import AccessChoice, cells_wanted
from gateway.core.errors import REASONS
from gateway.records.cells import DEGRADED, HAS_IDS, HAS_PARENT, IN_STREAM, SAMPLED, SLOW
from gateway.records.events import Detail, NameAssigned
from gateway.telemetry.access_log.access_lines import AccessLines
from gateway.telemetry.access_log.access_log import AccessLog
from gateway.telemetry.access_log.access_rows import SlotBatches, access_rows
from gateway.telemetry.access_log.line_writer import MOST_BYTES
from gateway.telemetry.access_log.single_line import single_line
from tests.support.span_chunks import Slot

OVERLOADED = REASONS.index("overloaded")
FORMATS = ("human", "json")


class Lines:
    """A writer that keeps the lines it is given."""

    lost = 0

    def __init__(self, room=True):
        self.text = b""
        self.writes = 0
        self.room = room

    def put(self, data, lines):
        assert data.count(b"\n") == lines
        self.text += data if self.room else b""
        self.writes += 1
        return self.room

    def start(self):
        pass

    def close(self, timeout_s):
        pass


def read(line):
    """The fields of a line of either form."""
    if line.startswith("{"):
        return {
            name: value
            for name, value in json.loads(line).items()
            if name not in ("time", "level", "logger", "message", "process", "pid")
        }
    found = re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    gateway\.access \[\d+\]: (.*)", line
    )
    assert found, line
    told = dict(word.partition("=")[::2] for word in shlex.split(found[1]))
    for name, value in told.items():
        if name.endswith("_ms"):
            told[name] = float(value)
        elif name in ("version", "rows", "batch_size", "retries"):
            told[name] = int(value)
        elif name in ("degraded", "slow", "stream"):
            told[name] = value == "true"
    return told


def listed(slot, choice="full", log_format="json", **options):
    """The fields of the lines of the slot's next chunk."""
    lines = Lines()
    AccessLog(choice, log_format, writer=lines, **options).consume(slot.chunk())
    return [read(line) for line in lines.text.decode().splitlines()]


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_tells_all_of_an_answered_request(log_format):
    slot = Slot()
    slot.batch(5, rows=12, start=20, ran=60)
    slot.request(batch=5, request_id=b"r-1", deadline=1.5, rows=2, arrived=0, ended=70, peer=0)
    (told,) = listed(slot, log_format=log_format)
    assert len(told.pop("trace_id")) == 32
    assert len(told.pop("span_id")) == 16
    assert told == {
        "status": "OK", "model": "digits", "version": 3, "request_id": "r-1",
        "client": "127.0.0.1:5123", "rows": 2, "batch_size": 12, "queue_ms": 20.0,
        "compute_ms": 35.0, "total_ms": 70.0, "deadline_ms": 1500.0,
    }  # fmt: skip


@pytest.mark.parametrize("log_format", FORMATS)
def test_a_line_tells_why_a_request_failed_or_who_answered_in_its_place(log_format):
    slot = Slot()
    slot.request(
        status=8,
        reason=OVERLOADED,
        peer=1,
        detail=Detail(error='the queue of "digits" is full', retries=1),
    )
    slot.request(
        flags=DEGRADED | SLOW | IN_STREAM,
        detail=Detail(served_by="digits/2", fallback_reason="circuit_open"),
    )
    refused, degraded = listed(slot, "errors", log_format)
    assert (refused["status"], refused["reason"], refused["client"]) == (
        "RESOURCE_EXHAUSTED",
        "overloaded",
        "[::1]:77",
    )
    assert (refused["error"], refused["retries"]) == ('the queue of "digits" is full', 1)
    assert "batch_size" not in refused
    assert "deadline_ms" not in refused
    assert (degraded["degraded"], degraded["slow"], degraded["stream"]) == (True, True, True)
    assert (degraded["served_by"], degraded["fallback_reason"]) == ("digits/2", "circuit_open")


def test_the_time_of_a_line_is_when_the_request_ended():
    slot = Slot()
    slot.request(ended=70)
    lines = Lines()
    AccessLog("full", "json", writer=lines).consume(slot.chunk())
    told = json.loads(lines.text)
    ended_s = datetime.fromisoformat(told["time"]).timestamp()
    assert ended_s == pytest.approx(
        time.time() - (time.monotonic_ns() - slot.now - 70_000_000) / 1e9, abs=0.01
    )
    assert (told["level"], told["logger"], told["process"], told["pid"]) == (
        "INFO",
        "gateway.access",
        "serving-0",
        7,
    )


def test_ids_are_the_callers_then_the_gateways_then_the_readers():
    slot = Slot()
    trace = b"t" * 16
    span = b"s" * 8
    parent = b"p" * 8
    slot.request(flags=HAS_PARENT | HAS_IDS, ids=(trace, span, parent))
    slot.request(flags=HAS_PARENT, ids=(trace, bytes(8), parent))
    slot.request(flags=0)
    chunk = slot.chunk()
    lines = Lines()
    AccessLog("full", "json", writer=lines).consume(chunk)
    ids = [(told["trace_id"], told["span_id"]) for told in map(json.loads, lines.text.splitlines())]
    traces = chunk.identifiers.request_traces(chunk.request_places)
    spans = chunk.identifiers.request_spans(chunk.request_places)
    assert ids == [
        (trace.hex(), span.hex()),
        (trace.hex(), spans[1].tobytes().hex()),
        (traces[2].tobytes().hex(), spans[2].tobytes().hex()),
    ]


def test_a_batch_of_an_earlier_chunk_is_known_and_one_of_a_process_that_is_gone_is_not():
    slot = Slot()
    lines = Lines()
    log = AccessLog("full", "json", writer=lines)
    slot.batch(5, rows=12)
    log.consume(slot.chunk())
    slot.request(batch=5)
    log.consume(slot.chunk())
    slot.began(b"another process!")
    log.consume(slot.chunk())
    slot.request(batch=5)
    log.consume(slot.chunk())
    before, after = map(json.loads, lines.text.splitlines())
    assert before["batch_size"] == 12
    assert "batch_size" not in after
    assert "queue_ms" not in after


def test_a_batch_without_an_axis_counts_its_requests():
    slot = Slot()
    slot.batch(5, rows=-1, requests=4)
    slot.request(batch=5, rows=-1)
    (told,) = listed(slot)
    assert told["batch_size"] == 4
    assert "rows" not in told


words = st.text(max_size=60)
cells = st.fixed_dictionaries(
    {
        "status": st.sampled_from([0, 0, 0, 1, 4, 8, 16, 99]),
        "flags": st.integers(0, 127),
        "request_id": st.one_of(
            st.binary(max_size=40),
            words.map(lambda text: text.encode("utf-8", "ignore")),
            st.just(b""),
        ),
        "version": st.sampled_from([0, 7, -1, 3]),
        "ended": st.one_of(st.integers(0, 10**5), st.integers(0, 10**10)),
        "batch": st.integers(0, 3),
        "rows": st.sampled_from([-1, 0, 1, 999, 1000, 1_234_567]),
        "deadline": st.sampled_from([0.001, 1.0, 86400.0 * 365, math.inf, math.nan, -1.0]),
        "peer": st.integers(0, 6),
        "reason": st.integers(0, len(REASONS) - 1),
        "ids": st.tuples(
            st.binary(min_size=16, max_size=16),
            st.binary(min_size=8, max_size=8),
            st.binary(min_size=8, max_size=8),
        ),
        "detail": st.one_of(
            st.none(),
            st.builds(
                Detail,
                error=words,
                served_by=words,
                request_id=words,
                model=words,
                retries=st.integers(0, 3),
            ),
        ),
    }
)


@settings(deadline=None, max_examples=200)
@given(st.lists(cells, min_size=1, max_size=30), st.sampled_from(FORMATS))
def test_a_line_is_one_line_and_the_same_made_with_thousands_or_by_itself(requests, log_format):
    slot = Slot()
    for number in (1, 2):
        slot.batch(number, rows=number)
    for request in requests:
        slot.request(**request)
    chunk = slot.chunk()
    batches = SlotBatches()
    maker = AccessLines(log_format)
    batches.consume(chunk)
    rows = access_rows(chunk, range(len(requests)), batches, 10**18)
    text = maker.lines(rows).decode()
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert len(lines) == len(requests)
    for row, line in enumerate(lines):
        assert line.isprintable()
        by_itself = single_line(rows, row, as_json=log_format == "json").decode()
        if log_format == "json":
            assert json.loads(line) == json.loads(by_itself)
        else:
            assert line == by_itself


@pytest.mark.parametrize("log_format", FORMATS)
def test_no_caller_can_write_a_line_of_his_own(log_format):
    slot = Slot()
    evil = (
        'x\n2026-11-26 00:00:00,000 INFO    gateway.access [0]: status=OK\x1b[2J "status=OK\u2028'
    )
    slot.note(NameAssigned("peer", 6, f"unix:{evil}"))
    slot.request(
        request_id=evil.encode()[:40],
        peer=6,
        version=-1,
        status=5,
        detail=Detail(error=evil, model=evil, served_by=evil),
    )
    slot.request(request_id=b'"} {"status":"OK', peer=6)
    lines = Lines()
    AccessLog("full", log_format, writer=lines).consume(slot.chunk())
    first, second = lines.text.decode().splitlines()
    assert first.isprintable()
    assert second.isprintable()
    if log_format == "json":
        assert (json.loads(first)["model"], json.loads(first)["error"]) == (evil, evil)
        assert json.loads(second)["request_id"] == '"} {"status":"OK'
    else:
        assert read(second)["request_id"] == '"} {"status":"OK'


def test_what_is_kept_of_each_choice():
    slot = Slot()
    for _ in range(100):
        slot.request(flags=0)
    for flags, status in ((SLOW, 0), (DEGRADED, 0), (0, 14)):
        slot.request(flags=flags, status=status)
    chunk = slot.chunk()
    counts = {}
    for choice in ("off", "errors", "full", "0.1"):
        log = AccessLog(choice, "human", writer=Lines())
        log.consume(chunk)
        counts[choice] = log.written
    # a cell without another reason is there because the serving process drew its request
    assert counts == {"off": 0, "errors": 3, "full": 103, "0.1": 103}


def test_of_requests_that_have_a_cell_for_traces_a_ratio_lists_its_share():
    slot = Slot()
    for _ in range(10_000):
        slot.request(flags=SAMPLED)
    assert 880 < len(listed(slot, "0.1")) < 1130


def test_more_lines_a_second_than_can_be_written_are_left_out_and_said(caplog):
    slot = Slot()
    for _ in range(100):
        slot.request()
    log = AccessLog("full", "human", writer=Lines(), most_lines_per_s=10)
    with caplog.at_level(logging.WARNING, "gateway.access"):
        log.consume(slot.chunk())
    assert (log.written, log.dropped) == (10, 90)
    assert caplog.messages == ["90 lines were dropped: more than can be written"]


def test_lines_that_nobody_reads_are_left_out_and_counted():
    slot = Slot()
    slot.request()
    log = AccessLog("full", "human", writer=Lines(room=False))
    log.consume(slot.chunk())
    log.close()
    assert (log.written, log.dropped) == (0, 1)


def test_a_chunk_is_one_write():
    slot = Slot()
    lines = Lines()
    for _ in range(1000):
        slot.request()
    AccessLog("full", "human", writer=lines).consume(slot.chunk())
    assert lines.writes == 1


@given(st.floats(0, 1))
def test_a_ratio_is_a_choice(ratio):
    choice = AccessChoice.parse(ratio)
    assert AccessChoice.parse(str(ratio)) == AccessChoice.parse(choice) == choice
    assert choice.ratio == ratio


def test_what_the_choices_ask_of_serving_processes():
    assert [cells_wanted(choice) for choice in ("off", "errors", "full", "0.01", "1", "0")] == [
        "kept",
        "kept",
        "all",
        0.01,
        "all",
        "kept",
    ]
    assert AccessChoice.parse(False) == "off"


@pytest.mark.parametrize("value", ["some", "", "2", "-0.1", "nan", True, None, [], 1.5])
def test_what_is_no_choice_is_refused(value):
    with pytest.raises(ValueError, match="expected off, errors, full, or a ratio of 0 to 1"):
        AccessChoice.parse(value)


def test_there_is_room_for_a_second_of_lines():
    assert MOST_BYTES > 30_000 * 250
    assert os.sysconf("SC_PAGE_SIZE") <= MOST_BYTES
