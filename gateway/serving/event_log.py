"""What protections decide, as events.

Written by a serving process into its records, and read by the telemetry process.
"""

from __future__ import annotations

import time
from typing import Final

from gateway.logs.redaction import without_values
from gateway.records.breaker_state import Transition
from gateway.records.events import StateChanged
from gateway.records.writer import RecordWriter
from gateway.serving.runtime.process.worker_events import WorkerEvent

_LONGEST_TEXT: Final = 1000  # characters


def record_event(writer: RecordWriter, record: object) -> None:
    """Notes what happens seldom: a breaker that moved, a worker that died.

    What a request met stands in its own cell.
    """
    now_ns = time.monotonic_ns()
    if isinstance(record, Transition):
        writer.write_event(
            StateChanged(now_ns, "breaker", *record.key, record.new, _text(record.reason))
        )
    elif isinstance(record, WorkerEvent):
        writer.write_event(
            StateChanged(
                now_ns,
                "worker",
                record.model,
                record.version,
                record.worker,
                record.fate.value,
                _text(record.detail),
            )
        )


def _text(text: str) -> str:
    return without_values(text)[:_LONGEST_TEXT]
