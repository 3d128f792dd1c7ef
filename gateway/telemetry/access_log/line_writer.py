"""Writes lines to stderr from a thread of its own, in the telemetry process.

A slow reader, or one that stands still, thus keeps nobody else waiting.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections import deque
from typing import Final

MOST_BYTES: Final = 8 << 20
"""The most bytes that wait to be written: a second of 30 000 lines."""
# what is written to a pipe at once, and no longer, is not mixed with what other processes write
_WHOLE_BYTES: Final = select.PIPE_BUF
_POLL_S: Final = 1.0


class LineWriter:
    """Writes from `start` to `close`; lines that find no room are not taken."""

    def __init__(self, fd: int, most_bytes: int = MOST_BYTES) -> None:
        self._fd = fd
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._bytes = 0
        self._closing = False
        self._abandoned = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
        self.lost = 0
        """Lines that were taken and could not be written."""

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def put(self, data: bytes, lines: int) -> bool:
        """Takes whole lines to write, and never waits; False: there was no room for them."""
        with self._changed:
            if self._closing or self._bytes + len(data) > self._most_bytes:
                return False
            self._waiting.append((data, lines))
            self._bytes += len(data)
            self._changed.notify()
        return True

    def close(self, timeout_s: float) -> None:
        """Writes what waits, as far as that can be done in time; the rest is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._changed:
            self._abandoned = True
            self.lost += sum(lines for _, lines in self._waiting)
            self._waiting.clear()

    def _run(self) -> None:
        is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                data, lines = self._waiting[0]
            try:
                for piece in (data,) if is_file else _pieces(data):
                    self._write(piece)
                failed = False
            except OSError:  # its reader is gone
                failed = True
            with self._changed:
                if self._abandoned:
                    return
                self.lost += lines * failed
                self._waiting.popleft()
                self._bytes -= len(data)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another process that shares it has made it so
                select.select([], [self._fd], [], _POLL_S)

    def __repr__(self) -> str:
        return f"<LineWriter {self._bytes} bytes wait, {self.lost} lines lost>"


def _pieces(data: bytes) -> list[bytes]:
    """Whole lines, as many as fit at once; a longer line by itself."""
    pieces = []
    begin = 0
    while begin < len(data):
        end = (
            data.rfind(b"\n", begin, begin + _WHOLE_BYTES) + 1
            or data.find(b"\n", begin) + 1
            or len(data)
        )
        pieces.append(data[begin:end])
        begin = end
    return pieces
