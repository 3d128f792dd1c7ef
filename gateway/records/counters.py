"""The counters of every version, in memory that all processes share and that outlives each of them.

One file without a name (memfd), mapped by the supervisor and every serving process. A row belongs
to a version in a slot (the place of one serving process), so it has one writer at a time and needs
no lock: a counter is a word of eight bytes, stored at once. A restarted process goes on with the
counters of the one whose slot it has; a reader adds up the slots. So what is read never goes back,
whoever dies.

Pages that nobody has counted in cost nothing: room for all rows and slots is only an address range.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from operator import add
from typing import Final, Self

from gateway.records.histogram_bounds import TIME_BOUNDS_S
from gateway.records.version_counts import (
    BUCKETS,
    MAX_REASONS,
    BatchCounts,
    Duration,
    Histogram,
    VersionCounts,
)

ROWS: Final = 4096
HOUSE_ROW: Final = ROWS - 1
"""Counts requests for which no version was found.

The others are versions that can be told apart, live and gone.
"""
MAX_SLOTS: Final = 64

WORD_BYTES: Final = 8
FAIL: Final = 2
"""A row starts with two words, count and nanoseconds, for each `Duration` of `VersionCounts`.

In its order.
"""
INFERENCE_COUNT, EXECUTION_COUNT, LAST_INFERENCE_MS = range(16, 19)
_HISTOGRAM_WORDS: Final = BUCKETS + 1
"""Counts by bucket, then the sum in seconds, which is a double.

Adding to it costs half of what an integer of nanoseconds would.
"""
REQUEST_TIME, QUEUE_TIME, FAILURE_TIME, BATCH_TIME, COMPUTE_TIME = range(
    20, 20 + 5 * _HISTOGRAM_WORDS, _HISTOGRAM_WORDS
)
FAILURES: Final = COMPUTE_TIME + _HISTOGRAM_WORDS
DEGRADED, RETRIES, INPUT_BYTES, OUTPUT_BYTES = range(
    FAILURES + MAX_REASONS, FAILURES + MAX_REASONS + 4
)
BATCHES: Final = OUTPUT_BYTES + 3
"""Where the batch sizes start: four words each."""
EXACT_BATCH_SIZES: Final = 128
"""Batches up to this size are counted by their size.

Larger ones with all up to the next power of two.
"""
LARGEST_POWER: Final = 16
"""Batches of more than 2 ** 16 rows are counted with those of 2 ** 16."""
BATCH_SIZES: Final = (
    *range(1, EXACT_BATCH_SIZES + 1),
    *(1 << power for power in range(8, LARGEST_POWER + 1)),
)
ROW_WORDS: Final = BATCHES + 4 * len(BATCH_SIZES)
ROW_BYTES: Final = ROW_WORDS * WORD_BYTES

_REQUEST_SUM, _QUEUE_SUM, _FAILURE_SUM, _BATCH_SUM, _COMPUTE_SUM = (
    at + BUCKETS for at in (REQUEST_TIME, QUEUE_TIME, FAILURE_TIME, BATCH_TIME, COMPUTE_TIME)
)


class VersionStatistics:
    """Counts for one version in one process, on one thread at a time."""

    __slots__ = ("_sums", "_words")

    def __init__(self, words: memoryview[int], sums: memoryview[float]) -> None:
        """`sums` are the same bytes as `words`, read as doubles."""
        self._words = words
        self._sums = sums

    @property
    def answered(self) -> tuple[int, float]:
        """How many requests this process has answered, and their seconds."""
        return sum(self._words[REQUEST_TIME : REQUEST_TIME + BUCKETS].tolist()), self._sums[
            REQUEST_TIME + BUCKETS
        ]

    def record_request(self, elapsed_s: float, queue_s: float) -> None:
        """Counts the times of a request that was answered, 0.4 us.

        `queue_s` below 0: no batch ran it.
        """
        words = self._words
        sums = self._sums
        # by number, as below: REQUEST_TIME, QUEUE_TIME and their sums
        words[20 + bisect_left(TIME_BOUNDS_S, elapsed_s)] += 1
        sums[37] += elapsed_s
        if queue_s >= 0:
            words[38 + bisect_left(TIME_BOUNDS_S, queue_s)] += 1
            sums[55] += queue_s

    def record_failure(self, reason: int, elapsed_s: float) -> None:
        """Counts a request that was not answered.

        `reason` is its place in `gateway.core.errors.REASONS`.
        """
        words = self._words
        words[FAILURES + reason] += 1
        words[FAILURE_TIME + bisect_left(TIME_BOUNDS_S, elapsed_s)] += 1
        self._sums[_FAILURE_SUM] += elapsed_s

    def record_degraded(self) -> None:
        """Counts a request that a fallback answered."""
        self._words[DEGRADED] += 1

    def record_retry(self) -> None:
        """Counts a batch that is run again."""
        self._words[RETRIES] += 1

    def record_bytes(self, input_bytes: int, output_bytes: int) -> None:
        """Counts the tensors of a request and of its answer."""
        self._words[INPUT_BYTES] += input_bytes
        self._words[OUTPUT_BYTES] += output_bytes

    def record_batch(
        self,
        requests: int,
        rows: int,
        queue_ns: int,
        compute_input_ns: int,
        compute_infer_ns: int,
        compute_output_ns: int,
        success_ns: int,
        now_ms: int,
    ) -> None:
        """Counts a batch that was answered.

        `queue_ns` and `success_ns` (arrival to answer) are sums over the requests; the three
        compute times are the batch's own, and each request is counted as having taken all of them.
        `rows`: length of the batch axis; the number of runs where there is none.
        """
        words = self._words
        words[0] += requests  # written out, by number: a loop, or names, cost twice the time
        words[1] += success_ns
        words[4] += requests
        words[5] += queue_ns
        words[6] += requests
        words[7] += requests * compute_input_ns
        words[8] += requests
        words[9] += requests * compute_infer_ns
        words[10] += requests
        words[11] += requests * compute_output_ns
        words[16] += rows
        words[17] += 1
        words[18] = now_ms
        at = 136 + 4 * rows if rows <= EXACT_BATCH_SIZES else large_batch_at(rows)  # BATCHES - 4
        words[at] += 1
        words[at + 1] += compute_input_ns
        words[at + 2] += compute_infer_ns
        words[at + 3] += compute_output_ns
        infer_s = compute_infer_ns * 1e-9
        batch_s = infer_s + (compute_input_ns + compute_output_ns) * 1e-9
        words[BATCH_TIME + bisect_left(TIME_BOUNDS_S, batch_s)] += 1
        words[COMPUTE_TIME + bisect_left(TIME_BOUNDS_S, infer_s)] += 1
        sums = self._sums
        sums[_BATCH_SUM] += batch_s
        sums[_COMPUTE_SUM] += infer_s

    def record_failures(self, requests: int, ns: int) -> None:
        """Counts requests that were accepted and failed, for ModelStatistics.

        `ns`: arrival to error, summed.
        """
        self._words[FAIL] += requests
        self._words[FAIL + 1] += ns


def large_batch_at(rows: int) -> int:
    """The first word of the batch size that a large batch is counted with.

    A batch is large that has more than `EXACT_BATCH_SIZES` rows.
    """
    power = min((rows - 1).bit_length(), LARGEST_POWER)
    return BATCHES + 4 * (EXACT_BATCH_SIZES + power - 8)


class StatisticsTable:
    """All rows of all slots. The file is the caller's: closing the table leaves it open."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.slots = os.fstat(fd).st_size // (ROWS * ROW_BYTES)
        self._map = mmap.mmap(fd, self.slots * ROWS * ROW_BYTES)
        self._words = memoryview(self._map).cast("q")
        self._sums = memoryview(self._map).cast("d")

    def __repr__(self) -> str:
        return (
            f"<StatisticsTable {self.slots} slots, {os.fstat(self.fd).st_blocks // 2} KiB in use>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmaps the table; writers and readers must be gone."""
        self._words.release()
        self._sums.release()
        self._map.close()

    def writer(self, slot: int, row: int) -> VersionStatistics:
        """The one writer of a row; keeps the table mapped."""
        at = self._at(slot, row)
        return VersionStatistics(self._words[at : at + ROW_WORDS], self._sums[at : at + BATCHES])

    def head(self, row: int) -> bytes:
        """All words of a row but the batches by size, of every slot.

        Unlike before if and only if something was counted since.
        """
        places = [self._at(slot, row) for slot in range(self.slots)]
        return b"".join([self._words[at : at + BATCHES] for at in places])

    def read(self, row: int) -> VersionCounts:
        """The numbers of a row, summed over all slots."""
        heads = [
            self._words[at : at + BATCHES].tolist()
            for at in (self._at(slot, row) for slot in range(self.slots))
        ]
        sums = _added(heads)
        # reading an untouched page would make it
        used = [slot for slot, head in enumerate(heads) if head[EXECUTION_COUNT]]
        success, fail, queue, compute_input, compute_infer, compute_output, hit, miss = (
            Duration(*sums[i : i + 2]) for i in range(0, 16, 2)
        )
        return VersionCounts(
            success=success,
            fail=fail,
            queue=queue,
            compute_input=compute_input,
            compute_infer=compute_infer,
            compute_output=compute_output,
            cache_hit=hit,
            cache_miss=miss,
            inference_count=sums[INFERENCE_COUNT],
            execution_count=sums[EXECUTION_COUNT],
            last_inference_ms=max(head[LAST_INFERENCE_MS] for head in heads),
            batches=self._read_batches(row, used),
            request_time=self._histogram(row, sums, REQUEST_TIME),
            queue_time=self._histogram(row, sums, QUEUE_TIME),
            failure_time=self._histogram(row, sums, FAILURE_TIME),
            batch_time=self._histogram(row, sums, BATCH_TIME),
            compute_time=self._histogram(row, sums, COMPUTE_TIME),
            failures=tuple(sums[FAILURES : FAILURES + MAX_REASONS]),
            degraded=sums[DEGRADED],
            retries=sums[RETRIES],
            input_bytes=sums[INPUT_BYTES],
            output_bytes=sums[OUTPUT_BYTES],
        )

    def clear(self, row: int) -> None:
        """Sets a row to zero in all slots, for a version that has it anew.

        No process may count in it any more.
        """
        for slot in range(self.slots):
            at = self._at(slot, row)
            self._words[at : at + ROW_WORDS] = memoryview(bytes(ROW_BYTES)).cast("q")

    def _histogram(self, row: int, sums: list[int], at: int) -> Histogram:
        return Histogram(
            tuple(sums[at : at + BUCKETS]),
            sum([self._sums[self._at(slot, row) + at + BUCKETS] for slot in range(self.slots)]),
        )

    def _read_batches(self, row: int, slots: list[int]) -> tuple[BatchCounts, ...]:
        starts = [self._at(slot, row) + BATCHES for slot in slots]
        if not starts:
            return ()
        counts = _added([self._words[at : at + 4 * len(BATCH_SIZES) : 4].tolist() for at in starts])
        found = []
        for place, count in enumerate(counts):
            if count:
                words = _added(
                    [self._words[at + 4 * place : at + 4 * place + 4].tolist() for at in starts]
                )
                found.append(BatchCounts(BATCH_SIZES[place], *words))
        return tuple(found)

    def _at(self, slot: int, row: int) -> int:
        if not (0 <= slot < self.slots and 0 <= row < ROWS):
            raise IndexError(
                f"slot {slot} row {row} is outside a table of {self.slots} slots and {ROWS} rows"
            )
        return (slot * ROWS + row) * ROW_WORDS


def _added(columns: list[list[int]]) -> list[int]:
    total = columns[0]
    for column in columns[1:]:
        total = list(map(add, total, column))
    return total


def size_statistics_file(fd: int, slots: int) -> None:
    """Makes an empty file an empty table for so many serving processes, at most `MAX_SLOTS`."""
    os.ftruncate(fd, slots * ROWS * ROW_BYTES)
