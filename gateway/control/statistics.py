"""The counters of every version, in memory that all processes share and that outlives each of them.

One file without a name (memfd), mapped by the supervisor and every serving process. A row belongs to a version in a slot (the place of one
serving process), so it has one writer at a time and needs no lock: a counter is a word of eight bytes, stored at once. A restarted process
goes on with the counters of the one whose slot it has; a reader adds up the slots. So what is read never goes back, whoever dies.

Pages that nobody has counted in cost nothing: room for all rows and slots is only an address range.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from typing import Self

ROWS = 4096
"""Versions that can be told apart, live ones and those whose numbers may still be asked for."""
MAX_SLOTS = 64

WORD_BYTES = 8
FAIL = 2
"""A row starts with two words, count and nanoseconds, for each `Duration` of `VersionCounts`, in its order."""
INFERENCE_COUNT, EXECUTION_COUNT, LAST_INFERENCE_MS = range(16, 19)
BATCHES = 20
"""Where the batch sizes start: four words each."""
EXACT_BATCH_SIZES = 128
"""Batches up to this size are counted by their size, larger ones with all up to the next power of two."""
LARGEST_POWER = 16
"""Batches of more than 2 ** 16 rows are counted with those of 2 ** 16."""
BATCH_SIZES = (*range(1, EXACT_BATCH_SIZES + 1), *(1 << power for power in range(8, LARGEST_POWER + 1)))
ROW_WORDS = BATCHES + 4 * len(BATCH_SIZES)
ROW_BYTES = ROW_WORDS * WORD_BYTES


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something took how long together."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Batches of one size."""

    batch_size: int
    count: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """The numbers of one version over all processes, in the words of `inference.ModelStatistics`."""

    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()
    inference_count: int = 0
    """Rows answered."""
    execution_count: int = 0
    """Batches run."""
    last_inference_ms: int = 0
    """Of the Unix epoch; 0: never."""
    batches: tuple[BatchCounts, ...] = ()
    """Sizes that occurred, ascending."""


class VersionStatistics:
    """Counts for one version in one process. Called once a batch, on one thread at a time."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

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

        `queue_ns` and `success_ns` (arrival to answer) are sums over the requests; the three compute times are the batch's own, and each
        request is counted as having taken all of them. `rows`: length of the batch axis; the number of runs where there is none.
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
        at = 16 + 4 * rows if rows <= EXACT_BATCH_SIZES else large_batch_at(rows)
        words[at] += 1
        words[at + 1] += compute_input_ns
        words[at + 2] += compute_infer_ns
        words[at + 3] += compute_output_ns

    def record_failures(self, requests: int, ns: int) -> None:
        """Counts requests that were accepted and failed; `ns`: arrival to error, summed."""
        self._words[FAIL] += requests
        self._words[FAIL + 1] += ns


def large_batch_at(rows: int) -> int:
    """The first word of the batch size that a batch of more than `EXACT_BATCH_SIZES` rows is counted with."""
    power = min((rows - 1).bit_length(), LARGEST_POWER)
    return BATCHES + 4 * (EXACT_BATCH_SIZES + power - 8)


class StatisticsTable:
    """All rows of all slots. The file is the caller's: closing the table leaves it open."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.slots = os.fstat(fd).st_size // (ROWS * ROW_BYTES)
        self._map = mmap.mmap(fd, self.slots * ROWS * ROW_BYTES)
        self._words = memoryview(self._map).cast("q")

    def __repr__(self) -> str:
        return f"<StatisticsTable {self.slots} slots, {os.fstat(self.fd).st_blocks // 2} KiB in use>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmaps the table; writers and readers must be gone."""
        self._words.release()
        self._map.close()

    def writer(self, slot: int, row: int) -> VersionStatistics:
        """The one writer of a row; keeps the table mapped."""
        at = self._at(slot, row)
        return VersionStatistics(self._words[at : at + ROW_WORDS])

    def read(self, row: int) -> VersionCounts:
        """The numbers of a row, summed over all slots."""
        heads = [self._read_words(slot, row, 0, BATCHES) for slot in range(self.slots)]
        sums = [sum(column) for column in zip(*heads, strict=True)]
        used = [slot for slot, head in enumerate(heads) if head[EXECUTION_COUNT]]  # reading an untouched page would make it
        success, fail, queue, compute_input, compute_infer, compute_output, hit, miss = (Duration(*sums[i : i + 2]) for i in range(0, 16, 2))
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
        )

    def clear(self, row: int) -> None:
        """Sets a row to zero in all slots, for a version that has it anew; no process may count in it any more."""
        for slot in range(self.slots):
            at = self._at(slot, row)
            self._words[at : at + ROW_WORDS] = memoryview(bytes(ROW_BYTES)).cast("q")

    def _read_batches(self, row: int, slots: list[int]) -> tuple[BatchCounts, ...]:
        columns = [self._read_words(slot, row, BATCHES, ROW_WORDS) for slot in slots]
        words = [sum(column) for column in zip(*columns, strict=True)]
        return tuple(BatchCounts(size, *words[4 * i : 4 * i + 4]) for i, size in enumerate(BATCH_SIZES) if words and words[4 * i])

    def _read_words(self, slot: int, row: int, start: int, stop: int) -> list[int]:
        at = self._at(slot, row)
        return self._words[at + start : at + stop].tolist()

    def _at(self, slot: int, row: int) -> int:
        if not (0 <= slot < self.slots and 0 <= row < ROWS):
            raise IndexError(f"slot {slot} row {row} is outside a table of {self.slots} slots and {ROWS} rows")
        return (slot * ROWS + row) * ROW_WORDS


def size_statistics_file(fd: int, slots: int) -> None:
    """Makes an empty file an empty table for so many serving processes, at most `MAX_SLOTS`."""
    os.ftruncate(fd, slots * ROWS * ROW_BYTES)
