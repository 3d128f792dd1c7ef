"""Who waits in a serving process, and who goes now: decisions without clocks, loops or models.

Requests whose datatypes and non-batch shapes agree, and whose priority level is the same, share a
line. A batch is taken from the line whose first request is most urgent: lowest priority level (but
every level gets its share), then earliest deadline, then first come. Expired requests are handed
out apart; cancelled ones are forgotten.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from operator import itemgetter

from gateway.core.plan import BatchingPlan
from gateway.serving.batching.fair_share import FairShare
from gateway.serving.batching.queue_decision import Decision
from gateway.serving.batching.queue_line import URGENCY, QueueLine
from gateway.serving.batching.queued_request import QueuedRequest


class BatchQueue:
    """The waiting requests of one version.

    `count`, `rows` and `bytes` are of those who wait, `timed_rows` of those who have a deadline;
    `limit`: rows of a full batch, 0 where there is no axis. A request is in one of three states:

    | | stands in its line | counts |
    |---|---|---|
    | waiting | yes | yes |
    | cancelled (`settled`, then `forget`) | until its line is next gone through | no |
    | expired, or taken | no: it was handed out, once | no |

    `shares`: least share of each priority level, level 1 first; empty: there are no levels.
    """

    def __init__(self, plan: BatchingPlan, shares: Sequence[float] = ()) -> None:
        self.limit = max(1, plan.useful_batch_size) if plan.max_batch_size else 0
        self._delay_s = plan.max_queue_delay_s
        self._preferred = max(
            (size for size in plan.preferred_batch_sizes if size <= self.limit), default=self.limit
        )
        self._lines: dict[tuple[object, ...], QueueLine] = {}
        self._sequence = itertools.count()
        self._tombstones = 0
        self._shares = FairShare(shares, self.limit) if shares else None
        self.count = 0
        self.rows = 0
        self.bytes = 0
        self.timed_rows = 0

    def add(self, entry: QueuedRequest) -> None:
        """Lets a request wait."""
        entry.order = next(self._sequence)
        self.add_again(entry)

    def add_again(self, entry: QueuedRequest) -> None:
        """Lets a request wait once more, as one that came when it came."""
        key = entry.key if self._shares is None else (entry.level, *entry.key)
        line = self._lines.get(key)
        if line is None:
            line = QueueLine(key, entry.level)
            self._lines[key] = line
        line.add(entry)
        entry.dequeued = False
        self.count += 1
        self.rows += entry.rows
        self.bytes += entry.input_bytes
        if entry.deadline != math.inf:
            self.timed_rows += entry.rows

    def forget(self, entry: QueuedRequest) -> None:
        """A waiting request was settled from outside (cancelled).

        It counts no more, and leaves when its line is next gone through.
        """
        key = entry.key if self._shares is None else (entry.level, *entry.key)
        self._uncount(self._lines[key], entry)
        self._tombstones += 1
        # nobody may be taking batches just now: do not keep the dead for long
        if self._tombstones > max(64, self.count):
            self._bury()

    def next_rows(self) -> int:
        """Rows that the next batch would have at most."""
        return min(self.rows, self.limit) if self.limit else 1

    def next_batch(self, now: float, answered_at: float | None = None) -> Decision:
        """The next batch, if it is time; it and the expired wait no longer.

        `answered_at`: when a batch taken now has its answers; a request whose deadline is earlier
        has expired already.
        """
        decision = Decision()
        if self._delay_s:
            self._expire(now, decision)
        over = now if answered_at is None else answered_at
        line = self._most_urgent(over, decision)
        if line is None:
            return decision
        if self._delay_s and (wait := self._delay_left_s(line, now)) > 0:
            decision.wait_s = wait
            return decision
        self._fill(line, over, decision)
        return decision

    def expire(self, now: float) -> list[QueuedRequest]:
        """Those whose time is over; they wait no longer."""
        decision = Decision()
        self._expire(now, decision)
        return decision.expired

    def clear(self) -> list[QueuedRequest]:
        """Lets nobody wait any more; returns those who did."""
        waiting = [
            entry for line in self._lines.values() for entry in line.entries if not entry.settled
        ]
        for entry in waiting:
            entry.dequeued = True
        self._lines.clear()
        self._tombstones = 0
        self.count = 0
        self.rows = 0
        self.bytes = 0
        self.timed_rows = 0
        return waiting

    def next_deadline(self) -> float:
        """The earliest deadline of those who wait; infinity if none has one."""
        return min(
            (e.deadline for line in self._lines.values() for e in line.entries if not e.settled),
            default=math.inf,
        )

    def _fill(self, line: QueueLine, now: float, decision: Decision) -> None:
        """Takes the batch from the line; without a batch axis a second request is always over 0."""
        passed = 0
        limit = self.limit
        batch = decision.batch
        rows = 0
        size = 0
        for entry in line.entries:
            if entry.settled:
                self._tombstones -= 1
            elif entry.deadline <= now:
                decision.expired.append(entry)
                self._uncount(line, entry)
            elif batch and rows + entry.rows > limit:
                break
            else:
                batch.append(entry)
                entry.dequeued = True
                rows += entry.rows
                size += entry.input_bytes
                if entry.deadline != math.inf:
                    self.timed_rows -= entry.rows
            passed += 1
        decision.rows = rows
        self._leave(line, passed, decision, size)

    def _leave(self, line: QueueLine, passed: int, decision: Decision, size: int) -> None:
        """The first `passed` entries of the line stand in it no more; the batch counts no more."""
        if self._shares is not None:
            levels = {other.level for other in self._lines.values()}
            self._shares.served(line.level, max(1, decision.rows), levels)
        del line.entries[:passed]
        line.rows -= decision.rows
        self.rows -= decision.rows
        self.bytes -= size
        self.count -= len(decision.batch)
        if not line.entries:
            del self._lines[line.key]

    def _most_urgent(self, now: float, decision: Decision) -> QueueLine | None:
        """The line to serve; lines in which nobody lives are dropped on the way.

        There are three cases: nobody waits; all who wait stand in one line; there are several, and
        the level that is owed its share, or else the most urgent, has the most urgent line.
        """
        lines = self._lines
        if len(lines) == 1:
            (line,) = lines.values()
            line.order()
            if self._first_alive(line, now, decision) is not None:
                return line
        alive: list[tuple[tuple[float, int], QueueLine]] = []
        for key in tuple(lines):
            line = lines[key]
            line.order()
            first = self._first_alive(line, now, decision)
            if first is None:
                del lines[key]
            else:
                alive.append((URGENCY(first), line))
        if self._shares is not None and len(lines) > 1:
            level = self._shares.choose({line.level for _, line in alive})
            alive = [entry for entry in alive if entry[1].level == level]
        return min(alive, key=itemgetter(0))[1] if alive else None

    def _first_alive(self, line: QueueLine, now: float, decision: Decision) -> QueuedRequest | None:
        for dead, entry in enumerate(line.entries):
            if entry.settled:
                self._tombstones -= 1
            elif entry.deadline <= now:
                decision.expired.append(entry)
                self._uncount(line, entry)
            else:
                if dead:
                    del line.entries[:dead]
                return entry
        line.entries.clear()
        return None

    def _delay_left_s(self, line: QueueLine, now: float) -> float:
        if line.rows >= self._preferred:
            return 0.0
        return (
            min(entry.arrived for entry in line.entries if not entry.settled) + self._delay_s - now
        )

    def _expire(self, now: float, decision: Decision) -> None:
        for line in self._lines.values():
            late = [entry for entry in line.entries if not entry.settled and entry.deadline <= now]
            for entry in late:
                self._uncount(line, entry)
            if late:
                gone = set(map(id, late))
                line.entries = [entry for entry in line.entries if id(entry) not in gone]
                decision.expired += late

    def _uncount(self, line: QueueLine, entry: QueuedRequest) -> None:
        entry.dequeued = True
        self.count -= 1
        self.rows -= entry.rows
        self.bytes -= entry.input_bytes
        line.rows -= entry.rows
        if entry.deadline != math.inf:
            self.timed_rows -= entry.rows

    def _bury(self) -> None:
        for key in tuple(self._lines):
            line = self._lines[key]
            line.entries = [entry for entry in line.entries if not entry.settled]
            if not line.entries:
                del self._lines[key]
        self._tombstones = 0

    def __repr__(self) -> str:
        return f"<BatchQueue {self.count} waiting, {self.rows} rows, {len(self._lines)} lines>"
