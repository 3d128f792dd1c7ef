"""What protections decide, as notes for whoever watches from outside the process."""

from __future__ import annotations

import time
from typing import Final

from gateway.logs.redaction import without_values
from gateway.records.breaker_state import Transition
from gateway.records.events import Decided
from gateway.records.writer import Journal
from gateway.serving.runtime.process.worker_events import WorkerEvent

_LONGEST_TEXT: Final = 1000  # characters


def note_decision(journal: Journal, record: object) -> None:
    """Notes what happens seldom: a breaker that moved, a worker that died.

    What a request met stands in its own cell.
    """
    now_ns = time.monotonic_ns()
    if isinstance(record, Transition):
        journal.note(Decided(now_ns, "breaker", *record.key, record.new, _text(record.reason)))
    elif isinstance(record, WorkerEvent):
        journal.note(
            Decided(
                now_ns,
                "worker",
                record.model,
                record.version,
                record.worker,
                record.fate.value,
                _text(record.detail),
            )
        )


def _text(said: str) -> str:
    return without_values(said)[:_LONGEST_TEXT]
