"""Requests that somebody may want to look at, as the telemetry process lists them on its page.

They are the latest that failed, were answered by a fallback or were slow. Each reason of failure
has a short list of its own, so that a flood of one kind drives none of the others out.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from gateway.core.errors import REASONS
from gateway.core.grpc_codes import status_name
from gateway.records.cells import DEGRADED, HAS_IDS, HAS_PARENT, IN_STREAM, REFUSED_SAMPLING, SLOW
from gateway.records.events import Detail
from gateway.records.reader import Chunk

KEPT: Final = 12
"""So many requests of each kind are kept."""
_LONGEST_TEXT: Final = 400
_NOTHING: Final = Detail()

Request = dict[str, object]


class RecentRequests:
    """Keeps a list of the latest for each kind: slow, degraded, and each reason of failure."""

    def __init__(self, trace_url: str = "") -> None:
        """`trace_url`: where a trace is shown, `{trace_id}` in the place of its id.

        Empty: nowhere.
        """
        self._trace_url = trace_url
        self._kinds: dict[str, deque[tuple[float, Request]]] = {}

    def consume(self, chunk: Chunk, epoch_s: float) -> None:
        """Keeps the last of each kind.

        `epoch_s`: the Unix time of the monotonic clock's zero.
        """
        for kind, at in _latest(chunk):
            kept = self._kinds.setdefault(kind, deque(maxlen=KEPT))
            at_s = epoch_s + int(chunk.requests[at]["ended_ns"]) / 1e9
            kept.append((at_s, {"at_s": round(at_s, 3), **self._described(chunk, at, kind)}))

    def newest_first(self) -> list[Request]:
        """All of them, as JSON has them."""
        return [
            request
            for _, request in sorted(
                itertools.chain.from_iterable(self._kinds.values()), key=lambda kept: -kept[0]
            )
        ]

    def _described(self, chunk: Chunk, at: int, kind: str) -> Request:
        cell = chunk.requests[at]
        detail = chunk.details.get(int(chunk.request_places[at]), _NOTHING)
        model, version = chunk.names.versions.get(int(cell["version"]), (detail.model, 0))
        reason = detail.fallback_reason if kind == "degraded" else REASONS[int(cell["reason"])]
        trace_id = _trace_id(chunk, at)
        trace_url = self._trace_url.replace("{trace_id}", trace_id)
        return {
            "kind": kind if kind in ("degraded", "slow") else "failed",
            "reason": reason,
            "model": model[:_LONGEST_TEXT],
            "version": str(version) if version else "",
            "status": status_name(int(cell["status"])),
            "error": detail.error[:_LONGEST_TEXT],
            "served_by": detail.served_by,
            "retries": detail.retries,
            "took_ms": round((int(cell["ended_ns"]) - int(cell["arrived_ns"])) / 1e6, 3),
            "rows": int(cell["rows"]),
            "streamed": bool(cell["flags"] & IN_STREAM),
            "process": chunk.slot,
            "peer": chunk.names.peers.get(int(cell["peer"]), ""),
            "request_id": _request_id(cell, detail)[:_LONGEST_TEXT],
            "trace_id": trace_id,
            "trace_url": "" if cell["flags"] & REFUSED_SAMPLING else trace_url,
        }

    def __repr__(self) -> str:
        return (
            "<RecentRequests "
            f"{', '.join(f'{len(kept)} {kind}' for kind, kept in self._kinds.items()) or 'none'}>"
        )


def _trace_id(chunk: Chunk, at: int) -> str:
    """The hexadecimal trace id of a request: that of its cell, or the one that its place draws."""
    cell = chunk.requests[at]
    if cell["flags"] & (HAS_PARENT | HAS_IDS):
        return bytes(cell["trace_id"]).hex()
    (drawn,) = chunk.identifiers.request_traces(chunk.request_places[at : at + 1])
    return bytes(drawn).hex()


def _request_id(cell: Any, detail: Detail) -> str:
    """The caller's id of a request: that of its detail where its cell had no room for it."""
    id_bytes = int(cell["id_bytes"])
    return detail.request_id or bytes(cell["request_id"])[:id_bytes].decode(errors="replace")


def _latest(chunk: Chunk) -> Iterator[tuple[str, int]]:
    """Kind, and index in the chunk, of the last requests of each kind.

    No more of them than are kept: to format all of a flood would take longer than the flood.
    """
    reason = chunk.requests["reason"]
    flags = chunk.requests["flags"]
    answered = reason == 0
    kinds: list[tuple[str, Any]] = [
        (REASONS[int(each)], reason == each)
        for each in np.unique(reason)
        if 0 < each < len(REASONS)
    ]
    kinds += [
        ("degraded", answered & (flags & DEGRADED != 0)),
        ("slow", answered & (flags & (SLOW | DEGRADED) == SLOW)),
    ]
    for kind, chosen in kinds:
        for at in np.flatnonzero(chosen)[-KEPT:].tolist():
            yield kind, at
