"""Which transport a serving process uses.

It is the completion queue where this grpcio allows it, grpc.aio elsewhere or where asked for.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence

from gateway.serving.wire.transport.interface import Methods, Transport, TransportOptions

COMPLETION_QUEUE = "completion-queue"
AIO = "aio"
AUTO = "auto"

_log = logging.getLogger(__name__)

Factory = Callable[[Methods, TransportOptions], Transport]


def choose_transport(
    wanted: str, missing: Callable[[], Sequence[str]] | None = None
) -> tuple[str, Factory]:
    """The transport's name and what makes it.

    `missing` returns what grpcio lacks for the completion queue (by default it is looked up).
    `auto` falls back to grpc.aio with a warning. Raises ValueError for an unknown name, and for
    `completion-queue` where that cannot be.
    """
    if wanted not in (AUTO, COMPLETION_QUEUE, AIO):
        raise ValueError(
            f"unknown transport '{wanted}': expected {AUTO}, {COMPLETION_QUEUE} or {AIO}"
        )
    if wanted == AIO:
        return AIO, _aio()
    lacking = (missing or _missing_internals)()
    if not lacking:
        server: Factory = importlib.import_module(
            "gateway.serving.wire.transport.completion_queue.server"
        ).CompletionQueueServer
        return COMPLETION_QUEUE, server
    text = f"this grpcio cannot serve from its completion queue (it lacks {', '.join(lacking)})"
    if wanted == COMPLETION_QUEUE:
        raise ValueError(f"{text}: use --transport {AUTO}, or another version of grpcio")
    _log.warning(
        "%s: serving through grpc.aio, at about a quarter of the speed. Another "
        "version of grpcio mends that.",
        text,
    )
    return AIO, _aio()


def _aio() -> Factory:
    server: Factory = importlib.import_module("gateway.serving.wire.transport.aio").AioServer
    return server


def _missing_internals() -> list[str]:
    try:
        internals = importlib.import_module(
            "gateway.serving.wire.transport.completion_queue.internals"
        )
    except (ImportError, AttributeError) as error:  # grpcio has moved what is imported by name
        return [str(error)]
    missing: list[str] = internals.missing_internals()
    return missing
