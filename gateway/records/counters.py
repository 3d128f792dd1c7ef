"""The counters of every version, in memory that all processes share and that outlives each of them.

The table is one file without a name (memfd), made by the main process and mapped by every serving
process, which counts in it, and by the telemetry process, which reads it. A row belongs to a
version in a slot (the place of one serving process), so it has one writer at a time and needs no
lock: a counter is a word of eight bytes, stored at once. A restarted process goes on with the
counters of the one whose slot it has; a reader adds up the slots. So what is read never goes back,
whichever process dies.

Pages that nobody has counted in cost nothing: room for all rows and slots is only an address range.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from typing import Final, Self

from gateway.records.counting.counter_layout import (
    AT,
    EXACT_BATCH_SIZES,
    HEAD_WORDS,
    ROW_BYTES,
    ROW_WORDS,
    SIZE_WORDS,
    large_batch_at,
)
from gateway.records.counting.counter_reader import read_counts
from gateway.records.counting.counter_values import BUCKETS
from gateway.records.counting.version_counts import VersionCounts
from gateway.records.histogram_bounds import TIME_BOUNDS_S

ROWS: Final = 4096
GATEWAY_ROW: Final = ROWS - 1
"""The row where requests are counted for which no version was found.

The other rows are those of versions, live and gone.
"""
MAX_SLOTS: Final = 64

_FAIL: Final = AT["fail"]
_REQUEST_TIME: Final = AT["request_time"]
_BATCH_TIME: Final = AT["batch_time"]
_COMPUTE_TIME: Final = AT["compute_time"]
_FAILURE_TIME: Final = AT["failure_time"]
_FAILURES: Final = AT["failures"]
_DEGRADED: Final = AT["degraded"]
_RETRIES: Final = AT["retries"]
_INPUT_BYTES: Final = AT["input_bytes"]
_OUTPUT_BYTES: Final = AT["output_bytes"]
_BATCH_SUM: Final = _BATCH_TIME + BUCKETS
_COMPUTE_SUM: Final = _COMPUTE_TIME + BUCKETS
_FAILURE_SUM: Final = _FAILURE_TIME + BUCKETS
_BATCH_SIZES: Final = HEAD_WORDS - SIZE_WORDS
"""Where batches of no rows would be counted."""


class VersionStatistics:
    """Counts for one version in one process, on one thread at a time.

    Its methods are written by hand, for speed; a test holds each method against what
    `gateway.records.counting.version_counts` declares that it writes.
    """

    __slots__ = ("_sums", "_words")

    def __init__(self, words: memoryview[int], sums: memoryview[float]) -> None:
        """`sums` are the same bytes as `words`, read as doubles."""
        self._words = words
        self._sums = sums

    @property
    def answered(self) -> tuple[int, float]:
        """How many requests this process has answered, and how many seconds they took together."""
        end = _REQUEST_TIME + BUCKETS
        return sum(self._words[_REQUEST_TIME:end].tolist()), self._sums[end]

    def record_request(self, elapsed_s: float, queue_s: float) -> None:
        """Counts the times of a request that was answered; takes 0.4 us.

        `queue_s`: how long it waited for its batch; below 0: no batch ran it.
        """
        words = self._words
        sums = self._sums
        # by number, as below: where `request_time`, `queue_time` and their sums stand
        words[14 + bisect_left(TIME_BOUNDS_S, elapsed_s)] += 1
        sums[31] += elapsed_s
        if queue_s >= 0:
            words[32 + bisect_left(TIME_BOUNDS_S, queue_s)] += 1
            sums[49] += queue_s

    def record_failure(self, reason: int, elapsed_s: float) -> None:
        """Counts a request that was not answered.

        `reason` is its place in `gateway.core.errors.REASONS`.
        """
        words = self._words
        words[_FAILURES + reason] += 1
        words[_FAILURE_TIME + bisect_left(TIME_BOUNDS_S, elapsed_s)] += 1
        self._sums[_FAILURE_SUM] += elapsed_s

    def record_degraded(self) -> None:
        """Counts a request that a fallback answered."""
        self._words[_DEGRADED] += 1

    def record_retry(self) -> None:
        """Counts a batch that is run again."""
        self._words[_RETRIES] += 1

    def record_bytes(self, input_bytes: int, output_bytes: int) -> None:
        """Counts the tensors of a request and of its answer."""
        self._words[_INPUT_BYTES] += input_bytes
        self._words[_OUTPUT_BYTES] += output_bytes

    def record_batch(
        self,
        requests: int,
        rows: int,
        queue_ns: int,
        compute_input_ns: int,
        compute_infer_ns: int,
        compute_output_ns: int,
        now_ms: int,
    ) -> None:
        """Counts a batch that was answered.

        `queue_ns` is the sum over the requests; the three compute times are the batch's own, and
        each request is counted as having taken all of them.
        `rows`: length of the batch axis; the number of runs where there is none.
        """
        words = self._words
        words[2] += requests  # written out, by number: a loop, or names, cost twice the time
        words[3] += queue_ns
        words[4] += requests
        words[5] += requests * compute_input_ns
        words[6] += requests
        words[7] += requests * compute_infer_ns
        words[8] += requests
        words[9] += requests * compute_output_ns
        words[110] += rows
        words[111] += 1
        words[112] = now_ms
        at = _BATCH_SIZES + 4 * rows if rows <= EXACT_BATCH_SIZES else large_batch_at(rows)
        words[at] += 1
        words[at + 1] += compute_input_ns
        words[at + 2] += compute_infer_ns
        words[at + 3] += compute_output_ns
        infer_s = compute_infer_ns * 1e-9
        batch_s = infer_s + (compute_input_ns + compute_output_ns) * 1e-9
        words[_BATCH_TIME + bisect_left(TIME_BOUNDS_S, batch_s)] += 1
        words[_COMPUTE_TIME + bisect_left(TIME_BOUNDS_S, infer_s)] += 1
        sums = self._sums
        sums[_BATCH_SUM] += batch_s
        sums[_COMPUTE_SUM] += infer_s

    def record_failures(self, requests: int, ns: int) -> None:
        """Counts requests that were accepted and failed, for ModelStatistics.

        `ns`: arrival to error, summed.
        """
        self._words[_FAIL] += requests
        self._words[_FAIL + 1] += ns


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
        return VersionStatistics(self._words[at : at + ROW_WORDS], self._sums[at : at + HEAD_WORDS])

    def head(self, row: int) -> bytes:
        """All words of a row but the batches by size, of every slot.

        They differ from what they were if and only if something was counted since.
        """
        return b"".join([self._words[at : at + HEAD_WORDS] for at in self._starts(row)])

    def read(self, row: int) -> VersionCounts:
        """The numbers of a row, summed over all slots."""
        return read_counts(self._words, self._sums, self._starts(row))

    def clear(self, row: int) -> None:
        """Sets a row to zero in all slots, for a version that has it anew.

        No process may count in it any more.
        """
        for at in self._starts(row):
            self._words[at : at + ROW_WORDS] = memoryview(bytes(ROW_BYTES)).cast("q")

    def _starts(self, row: int) -> list[int]:
        """Where the row starts in each slot."""
        return [self._at(slot, row) for slot in range(self.slots)]

    def _at(self, slot: int, row: int) -> int:
        if not (0 <= slot < self.slots and 0 <= row < ROWS):
            raise IndexError(
                f"slot {slot} row {row} is outside a table of {self.slots} slots and {ROWS} rows"
            )
        return (slot * ROWS + row) * ROW_WORDS


def size_statistics_file(fd: int, slots: int) -> None:
    """Makes an empty file an empty table for so many serving processes, at most `MAX_SLOTS`."""
    os.ftruncate(fd, slots * ROWS * ROW_BYTES)
