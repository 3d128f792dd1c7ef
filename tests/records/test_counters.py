"""The shared counters: each row and slot has one writer, and sums never go back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.lifecycle.counter_rows import CounterRows
from gateway.core.errors import REASONS
from gateway.records.counters import (
    GATEWAY_ROW,
    MAX_SLOTS,
    ROWS,
    StatisticsTable,
    size_statistics_file,
)
from gateway.records.counting.counter_layout import (
    BATCH_SIZES,
    HEAD_WORDS,
    ROW_BYTES,
    large_batch_at,
)
from gateway.records.counting.counter_values import (
    BUCKETS,
    MAX_REASONS,
    BatchCounts,
    Duration,
    Histogram,
)
from gateway.records.counting.version_counts import VersionCounts
from gateway.records.histogram_bounds import TIME_BOUNDS_S


def statistics_file(slots):
    fd = os.memfd_create("statistics")
    size_statistics_file(fd, slots)
    return fd


@pytest.fixture
def table():
    fd = statistics_file(slots=3)
    yield StatisticsTable(fd)
    os.close(fd)


def test_a_batch_counts_each_request_and_its_own_times_once(table):
    writer = table.writer(slot=1, row=5)
    writer.record_batch(
        requests=3,
        rows=7,
        queue_ns=30,
        compute_input_ns=4,
        compute_infer_ns=50,
        compute_output_ns=6,
        now_ms=1_700_000_000_000,
    )

    assert table.read(5) == VersionCounts(
        queue=Duration(3, 30),
        compute_input=Duration(3, 12),
        compute_infer=Duration(3, 150),
        compute_output=Duration(3, 18),
        inference_count=7,
        execution_count=1,
        last_inference_ms=1_700_000_000_000,
        batches=(BatchCounts(7, 1, 4, 50, 6),),
        batch_time=Histogram((1, *[0] * 16), pytest.approx(60e-9)),
        compute_time=Histogram((1, *[0] * 16), pytest.approx(50e-9)),
    )


def test_failures_are_counted_apart(table):
    table.writer(0, 0).record_failures(requests=2, ns=99)

    assert table.read(0) == VersionCounts(fail=Duration(2, 99))


def test_what_ends_a_request_is_counted_with_its_time_and_reason(table):
    for slot in (0, 2):
        writer = table.writer(slot, 6)
        writer.record_request(elapsed_s=0.003, queue_s=0.0002)
        writer.record_request(elapsed_s=99.0, queue_s=-1.0)
        writer.record_failure(REASONS.index("overloaded"), elapsed_s=0.0001)
        writer.record_degraded()
        writer.record_retry()
        writer.record_bytes(input_bytes=100, output_bytes=7)

    counts = table.read(6)

    assert counts.request_time == Histogram(
        (0, 0, 0, 0, 0, 2, *[0] * 10, 2), pytest.approx(198.006)
    )
    assert counts.queue_time == Histogram((0, 2, *[0] * 15), pytest.approx(0.0004))
    assert counts.failure_time == Histogram((2, *[0] * 16), pytest.approx(0.0002))
    assert {REASONS[i]: n for i, n in enumerate(counts.failures) if n} == {"overloaded": 2}
    assert (counts.degraded, counts.retries, counts.input_bytes, counts.output_bytes) == (
        2,
        2,
        200,
        14,
    )
    assert (counts.success.count, counts.success.ns) == (4, pytest.approx(198_006_000_000))
    assert (counts.fail, counts.execution_count) == (Duration(), 0)


def test_there_is_room_for_every_reason_and_the_last_keeps_off_its_neighbour(table):
    assert len(REASONS) <= MAX_REASONS

    table.writer(0, 0).record_failure(MAX_REASONS - 1, 0.0)

    assert table.read(0) == VersionCounts(
        failures=(*[0] * 23, 1), failure_time=Histogram((1, *[0] * 16))
    )


@given(time_s=st.one_of(st.floats(0, 20), st.sampled_from(TIME_BOUNDS_S)))
def test_a_time_is_in_the_first_bucket_whose_bound_is_not_below_it(time_s):
    fits = next((at for at, bound in enumerate(TIME_BOUNDS_S) if time_s <= bound), BUCKETS - 1)
    fd = statistics_file(slots=1)
    try:
        table = StatisticsTable(fd)
        table.writer(0, 0).record_request(time_s, time_s)
        counts = table.read(0)
    finally:
        os.close(fd)
    assert counts.request_time == counts.queue_time
    assert counts.request_time == Histogram(tuple(int(at == fits) for at in range(BUCKETS)), time_s)
    assert counts.request_time.count == 1


def test_the_head_of_a_row_changes_with_whatever_is_counted(table):
    writer = table.writer(1, 3)
    heads = [table.head(3)]
    for count in (
        lambda: writer.record_batch(1, 300, 0, 0, 0, 0, 0),
        lambda: writer.record_request(0.0, -1.0),
        lambda: writer.record_failure(1, 0.0),
        writer.record_degraded,
        writer.record_retry,
        lambda: writer.record_bytes(1, 0),
    ):
        count()
        heads.append(table.head(3))

    assert len(set(heads)) == len(heads)
    assert table.head(3) == heads[-1]


def test_no_version_gets_the_row_of_those_that_found_none():
    rows = CounterRows(lambda _: None)

    assert max(rows.assign(("m", version)) for version in range(1, ROWS + 10)) == GATEWAY_ROW - 1


def test_a_read_adds_up_all_slots_and_leaves_other_rows_out(table):
    for slot in range(3):
        table.writer(slot, 8).record_batch(1, 1, 1, 1, 1, 1, now_ms=10 + slot)
    table.writer(2, 9).record_batch(1, 1, 1, 1, 1, 1, now_ms=99)

    counts = table.read(8)

    assert counts.queue == Duration(3, 3)
    assert counts.batches == (BatchCounts(1, 3, 3, 3, 3),)
    assert counts.last_inference_ms == 12


def test_what_a_killed_process_counted_stays_and_its_successor_goes_on(table):
    code = (
        "import os, signal, sys; from gateway.records.counters import StatisticsTable\n"
        "StatisticsTable(int(sys.argv[1])).writer(1, 4).record_batch(2, 2, 5, 1, 1, 1, 1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    for expected in (2, 4):
        assert (
            subprocess.run(
                [sys.executable, "-c", code, str(table.fd)], pass_fds=[table.fd], check=False
            ).returncode
            == -9
        )
        assert table.read(4).queue == Duration(expected, expected // 2 * 5)


@given(rows=st.integers(1, 1 << 20))
def test_every_batch_is_counted_with_the_smallest_size_that_holds_it(rows):
    fits = next((size for size in BATCH_SIZES if size >= rows), BATCH_SIZES[-1])
    fd = statistics_file(slots=1)
    try:
        table = StatisticsTable(fd)
        table.writer(0, 0).record_batch(1, rows, 0, 5, 6, 7, 0)
        assert table.read(0).batches == (BatchCounts(fits, 1, 5, 6, 7),)
    finally:
        os.close(fd)
    if rows > 128:
        assert BATCH_SIZES[(large_batch_at(rows) - HEAD_WORDS) // 4] == fits


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 300), st.booleans()), max_size=30))
def test_no_number_ever_goes_back(batches):
    fd = statistics_file(slots=3)
    try:
        table = StatisticsTable(fd)
        before = table.read(1)
        for slot, rows, failed in batches:
            if failed:
                table.writer(slot, 1).record_failures(1, rows)
            else:
                table.writer(slot, 1).record_batch(1, rows, 1, 1, 1, 1, 1)
            now = table.read(1)
            assert (now.queue.count, now.fail.ns, now.execution_count, now.inference_count) >= (
                before.queue.count,
                before.fail.ns,
                before.execution_count,
                before.inference_count,
            )
            before = now
        assert before.queue.count + before.fail.count == len(batches)
    finally:
        os.close(fd)


def test_room_for_all_rows_and_slots_takes_no_memory_until_used():
    fd = statistics_file(MAX_SLOTS)
    table = StatisticsTable(fd)
    assert os.fstat(fd).st_size == MAX_SLOTS * ROWS * ROW_BYTES
    assert os.fstat(fd).st_blocks == 0

    table.writer(63, ROWS - 1).record_batch(1, 1, 1, 1, 1, 1, 1)

    assert 0 < os.fstat(fd).st_blocks * 512 <= 2 * 4096
    table.close()
    os.close(fd)


def test_a_cleared_row_starts_anew_and_its_neighbours_keep_theirs(table):
    for row in (1, 2, 3):
        table.writer(2, row).record_batch(1, 1, 1, 1, 1, 1, 1)

    table.clear(2)

    assert table.read(2) == VersionCounts()
    assert table.read(1).queue.count == table.read(3).queue.count == 1


def test_a_row_outside_the_table_is_an_error(table):
    for slot, row in ((3, 0), (0, ROWS), (-1, 0), (0, -1)):
        with pytest.raises(IndexError):
            table.writer(slot, row)
