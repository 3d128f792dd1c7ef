"""A queue of bounded size before one exporter, and the thread of the telemetry process behind it.

Its thread is the only one that waits for a collector.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_log = logging.getLogger(__name__)

QUEUE_FULL: Final = "queue_full"
"""The exporter was slower than the spans came."""
EXPORT_FAILED: Final = "export_failed"
"""The exporter has given them up: its collector is not there, or refused."""
CLOSED: Final = "closed"
"""The gateway stopped before they were out."""
NO_EXPORTER: Final = "no_exporter"
"""The exporter could not be made; the log has the reason since the telemetry process started."""
NOT_MADE: Final = "not_made"
"""A bug of ours: what the requests recorded could not be made into spans.

It counts at least one for each of them.
"""
DROP_REASONS: Final = (QUEUE_FULL, EXPORT_FAILED, CLOSED, NO_EXPORTER, NOT_MADE)
_WARN_EVERY_S: Final = 60.0


class Export(NamedTuple):
    """What an exporter gets at once."""

    make: Callable[[], Sequence[Any]]
    """Makes what the exporter is called with, one after the other, in the exporting thread.

    The length of each is its number of spans.
    """
    spans: int
    """About how many: what counts in the end are the lengths."""
    size_bytes: int


class ExportQueue:
    """Takes exports from one thread, and counts what becomes of them.

    It warns of what is dropped at once, then at most every minute.
    """

    def __init__(
        self, name: str, exporter: SpanExporter | None, most_bytes: int, most_spans: int
    ) -> None:
        """`exporter` is None where it could not be made; then all is dropped."""
        self.name = name
        self.exported = 0
        self.dropped = Counter(dict.fromkeys(DROP_REASONS, 0))
        self._exporter = exporter
        self._most_bytes = most_bytes
        self._most_spans = most_spans
        self._waiting: deque[Export] = deque()
        self._bytes = 0
        self._spans = 0
        self._changed = threading.Condition()
        self._closing = False
        self._abandoned = False
        self._settled = False
        self._asked_at: float | None = None
        self._warned_at = -_WARN_EVERY_S
        self._warned = 0
        self._explained_at = -_WARN_EVERY_S
        self._thread = threading.Thread(target=self._run, name=f"export to {name}", daemon=True)

    @property
    def has_exporter(self) -> bool:
        """Whether its exporter could be made."""
        return self._exporter is not None

    @property
    def queued_spans(self) -> int:
        """How many spans are not out yet."""
        return self._spans

    @property
    def queued_bytes(self) -> int:
        """How many bytes are not out yet."""
        return self._bytes

    @property
    def asking_s(self) -> float:
        """How long the exporter has been at its current export; 0 where it waits for more."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else time.monotonic() - asked_at

    def start(self) -> None:
        """Begins to export."""
        if self._exporter is not None:
            self._thread.start()

    def put(self, export: Export) -> None:
        """Queues it, or drops it where there is no room. Never waits."""
        with self._changed:
            if self._exporter is None:
                self._drop(NO_EXPORTER, export.spans)
                return
            if (
                self._closing
                or self._bytes + export.size_bytes > self._most_bytes
                or self._spans + export.spans > self._most_spans
            ):
                self._drop(CLOSED if self._closing else QUEUE_FULL, export.spans)
                return
            self._waiting.append(export)
            self._bytes = self._bytes + export.size_bytes
            self._spans = self._spans + export.spans
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Waits until all is out that was queued; False where that took too long."""
        with self._changed:
            return (
                self._changed.wait_for(
                    lambda: not self._spans or not self._thread.is_alive(), timeout_s
                )
                and not self._spans
            )

    def close(self, timeout_s: float) -> None:
        """Takes nothing more, exports what waits as far as there is time, shuts the exporter down.

        It logs how many spans are lost.
        """
        if self._exporter is None:
            return
        until = time.monotonic() + timeout_s
        self._end_waiting(timeout_s)
        try:
            self._exporter.shutdown()
        except Exception:  # noqa: BLE001  # any package's exporter
            _log.exception("%s could not be shut down", self.name)
        if self._thread.ident is not None:
            self._thread.join(max(0.1, until - time.monotonic()))
        with self._changed:
            self._settled = True  # what hangs in the exporter is not waited for
            self._give_up(self._spans, self._bytes)
        if lost := self.dropped[CLOSED]:
            _log.warning(
                "%d spans are lost: the gateway stopped before %s had accepted them",
                lost,
                self.name,
            )

    def _end_waiting(self, timeout_s: float) -> None:
        """Exports what waits as far as there is time, and drops the rest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._changed:
            self._abandoned = True
            left = list(self._waiting)
            self._waiting = deque()
            self._give_up(
                sum(export.spans for export in left), sum(export.size_bytes for export in left)
            )

    def _give_up(self, spans: int, size_bytes: int) -> None:
        self._spans = self._spans - spans
        self._bytes = self._bytes - size_bytes
        self._drop(CLOSED, spans)

    def _run(self) -> None:
        while (export := self._next()) is not None:
            self._asked_at = time.monotonic()
            exported, lost = self._export(export)
            self._asked_at = None
            with self._changed:
                if self._settled:
                    return
                self._bytes = self._bytes - export.size_bytes
                self._spans = self._spans - export.spans
                self.exported += exported
                if lost:
                    self._drop(CLOSED if self._abandoned else EXPORT_FAILED, lost)
                self._changed.notify_all()

    def _export(self, export: Export) -> tuple[int, int]:
        """Exports, and returns how many spans the exporter has taken, and how many not."""
        assert self._exporter is not None
        counts = [0, 0]
        try:
            parts = export.make()
        except Exception:  # noqa: BLE001  # the next may be sound
            self._explain("no spans could be made for %s")
            return 0, export.spans
        for part in parts:
            try:
                done = self._exporter.export(part) is SpanExportResult.SUCCESS
            except Exception:  # noqa: BLE001  # any package's exporter
                self._explain("%s failed")
                done = False
            counts[not done] += len(part)
        return counts[0], counts[1]

    def _explain(self, what: str) -> None:
        """Logs the exception that is being handled: at once, then at most every minute."""
        now = time.monotonic()
        if now - self._explained_at >= _WARN_EVERY_S:
            self._explained_at = now
            _log.exception(what, self.name)

    def _next(self) -> Export | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            return self._waiting.popleft() if self._waiting else None

    def _drop(self, reason: str, spans: int) -> None:
        self.dropped[reason] += spans
        now = time.monotonic()
        # what is lost at the end is logged at once, by `close`
        if reason != CLOSED and now - self._warned_at >= _WARN_EVERY_S:
            total = self.dropped.total()
            _log.warning(
                "%d spans were not exported by %s (%s); %d so far",
                total - self._warned,
                self.name,
                reason.replace("_", " "),
                total,
            )
            self._warned_at = now
            self._warned = total

    def __repr__(self) -> str:
        return (
            f"<ExportQueue {self.name}: {self.exported} exported, {self._spans} waiting, "
            f"{self.dropped.total()} dropped>"
        )
